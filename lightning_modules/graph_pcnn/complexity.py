"""What of Graph-PCNN can be counted without training: each base alone, with its localization subnet, and stage 2."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from datamodules.skeleton import Skeleton
from lightning_modules.graph_pcnn.config import Config, Refinement
from lightning_modules.graph_pcnn.network import Network
from lightning_modules.shared.counting import Countable, CountedRow

INPUT_HW = (256, 192)
BACKBONES = {
    "R50": "resnet50.tv_in1k",
    "R101": "resnet101.tv_in1k",
    "R152": "resnet152.tv_in1k",
    "HRNet-W32": "hrnet_w32.ms_in1k",
    "HRNet-W48": "hrnet_w48.ms_in1k",
}


def rows(config: Config, skeleton: Skeleton) -> list[CountedRow]:
    """Per backbone: the base, both feature maps, graph convolution and head; then the configured model as tested."""
    size = f"{INPUT_HW[0]} x {INPUT_HW[1]}"
    found = []
    for name, backbone in BACKBONES.items():
        paper = Config(backbone=replace(config.backbone, name=backbone))
        alone = replace(paper, refinement=Refinement.none)
        found += [
            CountedRow(f"{name}, base", partial(_maps, alone, skeleton), size, "stage 1 alone"),
            CountedRow(f"{name}, both feature maps", partial(_maps, paper, skeleton), size, "without refinement"),
            CountedRow(f"{name}, graph convolution", partial(_part, paper, skeleton, "graph"), "parameters only"),
            CountedRow(f"{name}, head", partial(_part, paper, skeleton, "head"), "parameters only"),
        ]
    note = "one guided point per keypoint, without the flip test"
    found.append(CountedRow("configured model", partial(_model, config, skeleton), size, note))
    return found


def _network(config: Config, skeleton: Skeleton) -> Network:
    config = replace(config, backbone=replace(config.backbone, weights=None))
    return Network(config, skeleton.limb_indices, skeleton.num_keypoints).eval()


def _maps(config: Config, skeleton: Skeleton) -> Countable:
    network = _network(config, skeleton)
    parameters = _size(network) - _size(network.refinement)
    return Countable(parameters, lambda: network(torch.empty(1, 3, *INPUT_HW)))


def _part(config: Config, skeleton: Skeleton, name: str) -> Countable:
    return Countable(_size(_network(config, skeleton).refinement.get_submodule(name)), None)


def _model(config: Config, skeleton: Skeleton) -> Countable:
    network = _network(config, skeleton)

    def forward() -> None:
        output = network(torch.empty(1, 3, *INPUT_HW))
        if output.localization_s4 is not None:
            heat = torch.empty(1, skeleton.num_keypoints, 1)
            network.refine(output.localization_s4, torch.empty(*heat.shape, 2), heat, heat > 0)

    return Countable(_size(network), forward)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
