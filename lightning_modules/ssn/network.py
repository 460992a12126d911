"""Spatial Shortcut Network and 3Block + 3FSM: person crop -> heatmaps of every predictor."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from timm.models.resnet import Bottleneck
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.shared.backbones import Backbone
from lightning_modules.shared.config import BackboneConfig
from lightning_modules.shared.vital_parts import Part, part_by_name, remaining
from lightning_modules.ssn.config import Architecture, Config, EarlyPredictor, FeatureShiftConfig, Predictor
from lightning_modules.ssn.feature_shift import FeatureShiftModule
from lightning_modules.ssn.u_shape import GROUPS, UShape, convolution, early_stage_predictor, heatmap_convolution

EARLY = (Predictor.E1, Predictor.E2, Predictor.E3)
LATE = (Predictor.P1, Predictor.P2, Predictor.P3, Predictor.P4)


class Output(NamedTuple):
    heatmap_s4: Tensor
    """[B, K, H/4, W/4]: the predictor ``decode.predictor``."""
    all_heatmaps_s4: Tensor
    """[B, S, K, H/4, W/4], the S predictors of ``Network.predictors``; coarser ones resized bilinearly."""


class Stage(nn.Module):
    """A ResNet stage with a feature shifting module (or nothing) before each of its blocks."""

    def __init__(self, blocks: Iterable[nn.Module], shifts: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.shifts = nn.ModuleList(shifts)

    def forward(self, features: Tensor) -> Tensor:
        for shift, block in zip(self.shifts, self.blocks, strict=True):
            features = block(shift(features))
        return features


class SpatialShortcut(nn.Module):
    """ResNet with FSMs before its blocks, early stage predictors on its stages and a U-shape behind (Fig. 2).

    An FSM precedes every block but the one right after a strided block; that makes 3, 3, 5 and 2 in ResNet-50.
    """

    def __init__(self, config: Config, num_keypoints: int) -> None:
        super().__init__()
        resnet = _resnet(config.backbone)
        self.stem = nn.Sequential(*(resnet[part] for part in ("conv1", "bn1", "act1", "maxpool")))
        stages, channels, inputs = [], [], resnet["conv1"].out_channels
        for index, blocks in enumerate(resnet[f"layer{number}"] for number in (1, 2, 3, 4)):
            outputs = blocks[-1].conv3.out_channels
            shifts = [
                _shift(inputs if position == 0 else outputs, config.feature_shift, first=not index and not position)
                if index == 0 or position != 1
                else nn.Identity()
                for position in range(len(blocks))
            ]
            stages.append(Stage(blocks, shifts))
            channels.append(outputs)
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        early = () if config.early_predictors is EarlyPredictor.none else channels[:3]
        self.early = nn.ModuleList(
            early_stage_predictor(config.early_predictors, width, num_keypoints) for width in early
        )
        self.u_shape = UShape(channels, config.width, num_keypoints)

    def forward(self, images: Tensor) -> list[Tensor]:
        features, outputs = self.stem(images), []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        early = [predict(output) for predict, output in zip(self.early, outputs[:3], strict=False)]
        return early + self.u_shape(outputs)


class ThreeBlock(nn.Sequential):
    """Table 1 of the supplement: stem, three times FSM and Bottleneck, one predictor."""

    def __init__(self, config: Config, num_keypoints: int) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.GroupNorm(GROUPS, 64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        for channels in (64, 256, 256):
            layers += [_shift(channels, config.feature_shift, first=False), _bottleneck(channels, 64)]
        super().__init__(*layers, convolution(256, 256, 1), heatmap_convolution(256, num_keypoints))

    def forward(self, images: Tensor) -> list[Tensor]:
        return [super().forward(images)]


class Network(nn.Module):
    """The network that ``config.architecture`` names.

    Args:
        config: the paper's switches.
        num_keypoints: K.

    Raises:
        ValueError: switches that exclude each other; the message names the key and the fix.
    """

    cpu_memory_format = torch.contiguous_format
    """Shifts move planes, and a CPU normalises groups of planes in half the time of groups of channels last."""

    def __init__(self, config: Config, num_keypoints: int) -> None:
        super().__init__()
        self.predictors = _predictors(config)
        if config.decode.predictor not in self.predictors:
            names = ", ".join(predictor.name for predictor in self.predictors)
            raise ValueError(
                f"model.decode.predictor={config.decode.predictor.name}: not part of this network; use {names}"
            )
        self.evaluated = self.predictors.index(config.decode.predictor)
        self.body = (SpatialShortcut if config.architecture is Architecture.ssn else ThreeBlock)(config, num_keypoints)

    def forward(self, images: Tensor) -> Output:
        """Normalised crops [B, 3, H, W]; H and W are multiples of 32."""
        size = images.shape[2] // 4, images.shape[3] // 4
        maps = [
            heatmaps
            if heatmaps.shape[2:] == size
            else F.interpolate(heatmaps, size=size, mode="bilinear", align_corners=False)
            for heatmaps in self.body(images)
        ]
        return Output(maps[self.evaluated], torch.stack(maps, 1))


def feature_shift_modules(network: nn.Module) -> list[FeatureShiftModule]:
    """All of a network in the order of its layers: FSM1, FSM2, ... of the paper."""
    return [module for module in network.modules() if isinstance(module, FeatureShiftModule)]


def network_parts(network: Network) -> dict[str, Part]:
    """The parts of ``callbacks.vitals``. A module that is not inserted yet need not learn."""
    parts: dict[str, Part] = {}
    for number, module in enumerate(feature_shift_modules(network), start=1):
        name = f"fsm{number}"
        inside = part_by_name([(f"{name}_offsets", module.shift), (f"{name}_attention", module.attention)])
        inside[name] = remaining(module, inside)
        parts |= {key: part._replace(should_learn=module.is_inserted) for key, part in inside.items()}
    body = network.body
    if isinstance(body, SpatialShortcut):
        parts |= part_by_name([("early_predictors", body.early), ("u_shape", body.u_shape)])
    else:
        parts |= part_by_name([("predictor", body[-1])])
    return {"trunk": remaining(network, parts), **parts}


def _predictors(config: Config) -> tuple[Predictor, ...]:
    if config.architecture is Architecture.ssn:
        return LATE if config.early_predictors is EarlyPredictor.none else EARLY + LATE
    if config.early_predictors is not EarlyPredictor.none:
        raise ValueError("model.early_predictors: 3Block + 3FSM has none; set it to none")
    return (Predictor.P4,)


def _shift(channels: int, config: FeatureShiftConfig, *, first: bool) -> nn.Module:
    if not config.enabled:
        return nn.Identity()
    return FeatureShiftModule(channels, config.first_channels if first else config.channels, config)


def _resnet(config: BackboneConfig) -> dict[str, Any]:
    """The parts of a timm ResNet by name: conv1, bn1, act1, maxpool, layer1 to layer4."""
    if config.frozen_stages or config.freeze_batch_norm:
        raise ValueError("model.backbone: SSN trains its whole trunk; set frozen_stages=0 and freeze_batch_norm=false")
    parts: dict[str, Any] = dict(Backbone(config, (4, 8, 16, 32)).body.named_children())
    if not isinstance(parts.get("layer1", [None])[0], Bottleneck):
        raise ValueError(f"model.backbone.name={config.name}: no Bottleneck blocks; use resnet50_gn or a deeper one")
    return parts


def _bottleneck(inputs: int, planes: int) -> Bottleneck:
    outputs = planes * Bottleneck.expansion

    shortcut = None
    if inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.GroupNorm(GROUPS, outputs))
    norm: Any = partial(nn.GroupNorm, GROUPS)  # timm's annotation asks for a class, and calls it
    return Bottleneck(inputs, planes, downsample=shortcut, norm_layer=norm)
