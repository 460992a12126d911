"""InsPose's network (Figure 3): images to class logits, KP-Net parameters, keypoint features and disk offsets."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.inspose.config import Config
from lightning_modules.inspose.kp_net import KPNetShape
from lightning_modules.inspose.locations import STRIDES
from lightning_modules.shared.backbones import Backbone
from lightning_modules.shared.fpn import FPN

CLASS_PRIOR = 0.01
HEATMAP_PRIOR = 0.1


class Output(NamedTuple):
    """Raw predictions. L runs over all cells of P3 to P7 (see ``locations``)."""

    class_logits: Tensor
    """[B, L], person or not."""
    parameters: Tensor
    """[B, C_f, L], KP-Net parameters."""
    kp_features_s8: Tensor
    """[B, C, h, w], F_kp."""
    disk_offsets_s8: Tensor | None
    """[B, 2K, h, w], x and y per keypoint, from a cell's corner, in cells; None without disk offsets."""
    heatmap_s8: Tensor | None
    """[B, K, h, w], logits; None at inference and without the auxiliary heatmap."""
    box_distances: Tensor | None
    """f32 [B, 4, L], left, top, right, bottom from the location, input pixels; None without box head."""


def conv_block(in_channels: int, channels: int, groups: int | None = None) -> nn.Sequential:
    """3×3 convolution without bias, group normalisation, ReLU.

    32 groups for 128 channels and more; narrower layers have fewer, of at least four channels, since P7 may be a single
    cell and a group of one value would always be normalised to 0.
    """
    groups = groups or math.gcd(32, max(1, channels // 4), channels)
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.GroupNorm(groups, channels),
        nn.ReLU(inplace=True),
    )


def tower(in_channels: int, channels: int, depth: int) -> nn.Sequential:
    """``depth`` blocks of ``channels``; the input itself for depth 0."""
    return nn.Sequential(*(conv_block(channels if i else in_channels, channels) for i in range(depth)))


def tower_head(in_channels: int, channels: int, depth: int, out_channels: int) -> nn.Sequential:
    """A tower and a last 3×3 convolution to ``out_channels``."""
    blocks = tower(in_channels, channels, depth)
    return nn.Sequential(*blocks, nn.Conv2d(channels if depth else in_channels, out_channels, 3, padding=1))


class BoxHead(nn.Module):
    """Distances from a location to the four sides of its box, with a learnt scale per level (FCOS)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(STRIDES)))

    def forward(self, feature: Tensor, level: int) -> Tensor:
        """[B, C, h, w] of a level -> f32 [B, 4, h, w], input pixels, positive."""
        exponent = (self.conv(feature).float() * self.scales[level]).clamp(max=8.0)
        return exponent.exp() * STRIDES[level]


class Network(nn.Module):
    """Images -> Output.

    Args:
        config: every switch picks its submodule here.
        num_keypoints: K.

    Raises:
        ValueError: impossible configuration, or a backbone that cannot be built.
    """

    def __init__(self, config: Config, num_keypoints: int) -> None:
        super().__init__()
        config.validate()
        channels = config.fpn_channels
        self.kp_net = KPNetShape(config.kpnet_channels, config.kpnet_depth, num_keypoints)
        self.backbone = Backbone(config.backbone, out_strides=STRIDES[:3])
        self.fpn = FPN(self.backbone.channels, channels, extra_levels=2)
        tower_out = config.tower_channels if config.tower_depth else channels
        self.class_head = tower_head(channels, config.tower_channels, config.tower_depth, 1)
        self.parameter_tower = tower(channels, config.tower_channels, config.tower_depth)
        self.parameter_head = nn.Conv2d(tower_out, self.kp_net.num_parameters, 3, padding=1)
        self.box_head = BoxHead(tower_out) if config.bbox_head else None
        # choice: the last layer is normalised too, in two groups, as in the released code
        self.keypoint_features = nn.Sequential(
            tower(channels, config.feature_channels, config.feature_depth),
            conv_block(
                config.feature_channels if config.feature_depth else channels,
                config.kpnet_channels,
                groups=math.gcd(2, config.kpnet_channels),
            ),
        )
        self.disk_head = None
        if config.disk_offset:
            self.disk_head = tower_head(channels, config.disk_channels, 2, 2 * num_keypoints)
        self.heatmap_head = tower_head(channels, config.heatmap_channels, 2, num_keypoints) if config.heatmap else None
        self._initialise()

    def _initialise(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.startswith(("backbone.", "fpn.")):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for head, prior in ((self.class_head, CLASS_PRIOR), (self.heatmap_head, HEATMAP_PRIOR)):
            if head is not None:
                last: Any = head[-1]
                nn.init.constant_(last.bias, _logit(prior))

    def forward(self, images: Tensor) -> Output:
        """Images f32 [B, 3, H, W], normalised. The auxiliary heatmap is made in training mode only."""
        levels = self.fpn(self.backbone(images))
        p3 = levels[0]
        class_logits, parameters, distances = [], [], []
        for i, level in enumerate(levels):
            class_logits.append(self.class_head(level).flatten(1))
            feature = self.parameter_tower(level)
            parameters.append(self.parameter_head(feature).flatten(2))
            if self.box_head is not None:
                distances.append(self.box_head(feature, i).flatten(2))
        return Output(
            class_logits=torch.cat(class_logits, dim=1),
            parameters=torch.cat(parameters, dim=2),
            kp_features_s8=self.keypoint_features(p3),
            disk_offsets_s8=self.disk_head(p3) if self.disk_head is not None else None,
            heatmap_s8=self.heatmap_head(p3) if self.heatmap_head is not None and self.training else None,
            box_distances=torch.cat(distances, dim=2) if distances else None,
        )


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
