"""The two-stage network: images -> heatmaps and localization features; guided points -> classification and offset."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

from torch import Tensor, nn

from lightning_modules.graph_pcnn.config import Config, Refinement
from lightning_modules.graph_pcnn.graph_refinement import PoseRefinement, Refined
from lightning_modules.graph_pcnn.guided_points import features_at
from lightning_modules.graph_pcnn.trunks import build_trunk, heatmap_layer


class Output(NamedTuple):
    heatmap_s4: Tensor
    """f32 [B, K, H / 4, W / 4], H of Eq. 2."""
    localization_s4: Tensor | None
    """f32 [B, C, H / 4, W / 4], F of Eq. 3; None without a second stage."""


class Network(nn.Module):
    """First stage (SimpleBaseline or HRNet), localization subnet and graph pose refinement (Fig. 2).

    The localization subnet starts as a copy of the last stage, weights included; the trunk before it is shared. With
    ``Refinement.none`` the network is its base alone, and ``refine`` may not be called.
    """

    def __init__(self, config: Config, limbs: tuple[tuple[int, int], ...], num_keypoints: int) -> None:
        super().__init__()
        trunk = build_trunk(config.backbone, config.deconv_channels)
        self.trunk = trunk.shared
        self.heatmap_stage = trunk.last_stage
        self.heatmap_layer = heatmap_layer(trunk.channels, num_keypoints)
        self.localization_subnet: nn.Module = _Absent()
        self.refinement: nn.Module = _Absent()
        if config.refinement is not Refinement.none:
            self.localization_subnet = deepcopy(trunk.last_stage)
            self.refinement = PoseRefinement(
                config.refinement,
                trunk.channels,
                config.refinement_channels,
                config.head_layers,
                limbs,
                num_keypoints,
            )

    def forward(self, images: Tensor) -> Output:
        """images f32 [B, 3, H, W], normalised; H and W multiples of 32."""
        features = self.trunk(images)
        return Output(self.heatmap_layer(self.heatmap_stage(features)), self.localization_subnet(features))

    def refine(self, localization_s4: Tensor, position: Tensor, heat: Tensor, is_reliable: Tensor) -> Refined:
        """Classify and move guided points.

        Args:
            localization_s4: f32 [B, C, H / 4, W / 4].
            position: f32 [B, K, N, 2], heatmap pixels.
            heat: f32 [B, K, N] >= 0.
            is_reliable: bool [B, K, N].
        """
        return self.refinement(features_at(localization_s4, position), heat, is_reliable)


class _Absent(nn.Module):
    """Stands where a network has no second stage."""

    def forward(self, *inputs: object) -> None:
        return None
