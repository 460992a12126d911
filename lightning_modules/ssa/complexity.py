"""What of SSA can be counted without training: Table 7 and its old counting rule, the parts, the refiner."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from datamodules.skeleton import Skeleton
from lightning_modules.shared.counting import Countable, CountedRow
from lightning_modules.shared.thop_rule import printed_count
from lightning_modules.ssa.attention import SelfAttention
from lightning_modules.ssa.config import Config, RefinerConfig
from lightning_modules.ssa.network import Network, Refiner

TABLE_7 = (
    ("res101", "resnet101.tv_in1k", 640),
    ("res152", "resnet152.tv_in1k", 640),
    ("res101", "resnet101.tv_in1k", 800),
)
PARTS = {"trunk": "backbone", "reduction": "reduce", "encoder": "encoder", "head": "head"}
"""Name -> attribute of the network."""


def rows(config: Config, skeleton: Skeleton) -> list[CountedRow]:
    """Table 7's own rows, the configured model, its parts, and TransPose-R-A4."""
    found = []
    for name, backbone, side in TABLE_7:
        published = Config(backbone=replace(config.backbone, name=backbone))
        build = partial(_model, published, skeleton, side)
        found.append(CountedRow(f"{name}, i{side}", build, f"{side} x {side}", _old_rule(published, skeleton, side)))
    found.append(CountedRow("configured model", partial(_model, config, skeleton, 640), "640 x 640"))
    for name, attribute in PARTS.items():
        found.append(CountedRow(f"part: {name}", partial(_part, config, skeleton, attribute), "parameters only"))
    note = "its position embedding is computed; stored it would be 196,608 more, the 6.0M of the paper"
    found.append(CountedRow("refiner TransPose-R-A4", partial(_refiner, skeleton), "256 x 192", note))
    return found


def _old_rule(config: Config, skeleton: Skeleton, side: int) -> str:
    with torch.device("meta"):
        printed = printed_count(_network(config, skeleton), torch.empty(1, 3, side, side), attention=SelfAttention)
    return (
        f"the counter of 2020 prints {printed.parameters / 1e6:.3f}M / {printed.macs / 1e9:.3f}G: without attention's "
        f"weights and products, deconvolutions fourfold"
    )


def _network(config: Config, skeleton: Skeleton) -> Network:
    return Network(replace(config, backbone=replace(config.backbone, weights=None)), skeleton.num_keypoints).eval()


def _model(config: Config, skeleton: Skeleton, side: int) -> Countable:
    network = _network(config, skeleton)
    return Countable(_size(network), lambda: network(torch.empty(1, 3, side, side)))


def _part(config: Config, skeleton: Skeleton, attribute: str) -> Countable:
    return Countable(_size(getattr(_network(config, skeleton), attribute)), None)


def _refiner(skeleton: Skeleton) -> Countable:
    config = RefinerConfig()
    refiner = Refiner(replace(config, backbone=replace(config.backbone, weights=None)), skeleton.num_keypoints).eval()
    return Countable(_size(refiner), lambda: refiner(torch.empty(1, 3, 256, 192)))


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
