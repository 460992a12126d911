"""What can be counted without training: OpenPose, what block offsets add, the other readings, and the converters."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from datamodules.skeleton import Skeleton
from lightning_modules.openpose_ssal.config import Config, SelfSupervision, Vgg
from lightning_modules.openpose_ssal.converters import Converters
from lightning_modules.openpose_ssal.network import Network
from lightning_modules.openpose_ssal.parts import Parts, parts_of
from lightning_modules.shared.counting import Countable, CountedRow

SIDE = 368


def rows(config: Config, skeleton: Skeleton) -> list[CountedRow]:
    """The paper's two models and its other readings at inference; the converters have rows of their own."""
    parts = parts_of(skeleton)
    image = f"{SIDE} x {SIDE}"
    paper = "the paper: +4.4% parameters, +3.5% computation"
    variants = (
        ("OpenPose", replace(config, block_offsets=False), ""),
        ("with block offsets", replace(config, block_offsets=True), paper),
        (
            "OpenPose on VGG-16",
            replace(config, block_offsets=False, network=replace(config.network, backbone=Vgg.vgg16)),
            "as the text says; the printed figures are VGG-19's",
        ),
        (
            "with block offsets, f_d = 16",
            replace(config, block_offsets=True, network=replace(config.network, downsampling=16)),
            "Table III",
        ),
    )
    found = [CountedRow(name, partial(_network, variant, parts), image, note) for name, variant, note in variants]
    for direction in (SelfSupervision.paf_to_heatmap, SelfSupervision.heatmap_to_paf):
        name = "converters " + direction.value.replace("_", " ")
        found.append(
            CountedRow(name, partial(_converters, config, parts, direction), "parameters only", "training only")
        )
    return found


def _network(config: Config, parts: Parts) -> Countable:
    unweighted = replace(config.network, weights=None)
    network = Network(unweighted, len(parts.names), len(parts.limbs), config.block_offsets).eval()
    return Countable(_size(network), lambda: network(torch.empty(1, 3, SIDE, SIDE)))


def _converters(config: Config, parts: Parts, direction: SelfSupervision) -> Countable:
    sizes = len(parts.names), len(parts.limbs)
    converters = Converters(direction, config.network.stages, *sizes, width=config.converter_width)
    return Countable(_size(converters), None)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
