"""What of InsPose can be counted without training: KP-Nets, the whole model at inference and in training, its parts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from datamodules.skeleton import Skeleton
from lightning_modules.inspose.config import Config
from lightning_modules.inspose.kp_net import KPNetShape, apply_kp_nets
from lightning_modules.inspose.network import Network
from lightning_modules.shared.backbones import unweighted
from lightning_modules.shared.counting import Countable, CountedRow

IMAGE_HW = (800, 1344)
"""The longest test image, 800 × 1333, padded."""
BACKBONES = {"R50": "resnet50.tv_in1k", "R101": "resnet101.tv_in1k", "HRNet-W32": "hrnet_w32.ms_in1k"}
PARTS = {
    "pyramid": "fpn",
    "classification head": "class_head",
    "parameter tower": "parameter_tower",
    "parameter layer": "parameter_head",
    "keypoint features": "keypoint_features",
    "disk offsets": "disk_head",
    "auxiliary heatmap": "heatmap_head",
}
"""Branches of the network counted one by one: name -> attribute."""


def rows(config: Config, skeleton: Skeleton) -> list[CountedRow]:
    """KP-Nets of every depth, three backbones, training against inference, and the branches of the configured model."""
    image = f"{IMAGE_HW[0]} x {IMAGE_HW[1]}"
    found = [
        CountedRow(
            f"KP-Net, depth {depth}",
            partial(_kp_nets, KPNetShape(config.kpnet_channels, depth, skeleton.num_keypoints), 1),
            f"{image} at stride 8",
            "generated, not stored",
        )
        for depth in (1, 2, 3, 4)
    ]
    for name, backbone in BACKBONES.items():
        other = replace(config, backbone=replace(config.backbone, name=backbone))
        found.append(
            CountedRow(f"{name}, inference", partial(_model, other, skeleton, False), image, "without KP-Nets")
        )
    found += [
        CountedRow("as configured, inference", partial(_model, config, skeleton, False), image, "without KP-Nets"),
        CountedRow(
            "as configured, training", partial(_model, config, skeleton, True), image, "with the auxiliary heatmap"
        ),
        CountedRow(
            f"{config.max_candidates} KP-Nets",
            partial(
                _kp_nets,
                KPNetShape(config.kpnet_channels, config.kpnet_depth, skeleton.num_keypoints),
                config.max_candidates,
            ),
            f"{image} at stride 8",
            "a crowded image",
        ),
    ]
    for name, attribute in PARTS.items():
        note = "training only" if attribute == "heatmap_head" else ""
        found.append(CountedRow(f"part: {name}", partial(_part, config, skeleton, attribute), "", note))
    return found


def _kp_nets(shape: KPNetShape, instances: int) -> Countable:
    height, width = IMAGE_HW[0] // 8, IMAGE_HW[1] // 8
    inputs = (
        torch.empty(1, shape.channels, height, width),
        torch.empty(1, instances, shape.num_parameters),
        torch.empty(1, instances, 2),
        torch.empty(1, instances),
    )
    return Countable(instances * shape.num_parameters, lambda: apply_kp_nets(*inputs, shape))


def _model(config: Config, skeleton: Skeleton, training: bool) -> Countable:
    network = Network(replace(config, backbone=unweighted(config.backbone)), skeleton.num_keypoints).train(training)
    unused = 0 if training else _size(network.heatmap_head)
    return Countable(_size(network) - unused, lambda: network(torch.empty(1, 3, *IMAGE_HW)))


def _part(config: Config, skeleton: Skeleton, attribute: str) -> Countable:
    network = Network(replace(config, backbone=unweighted(config.backbone)), skeleton.num_keypoints)
    return Countable(_size(getattr(network, attribute)), None)


def _size(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
