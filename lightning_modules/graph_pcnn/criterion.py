"""The loss terms of both stages, unweighted (Eq. 8 to 11)."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_modules.graph_pcnn.config import Config, OffsetUnit
from lightning_modules.graph_pcnn.graph_refinement import Refined
from lightning_modules.graph_pcnn.guided_points import GuidedPoints
from lightning_modules.graph_pcnn.targets import Targets
from losses.guided_point import GuidedPointClassification, GuidedPointRegression
from losses.heatmap_mse import HeatmapMSE


class Criterion(nn.Module):
    """L^s1 as ``heatmap``; L^s2 as ``classification`` and ``regression``, which carries no λ here.

    The terms are fp32 scalars. A batch without labelled keypoints gives zeros that still have gradients.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heatmap = HeatmapMSE()
        self.classification = GuidedPointClassification(config.sigma)
        self.regression = GuidedPointRegression(offset_unit(config))

    def forward(
        self, heatmap_s4: Tensor, targets: Targets, points: GuidedPoints | None, refined: Refined | None
    ) -> dict[str, Tensor]:
        """Compare what the network said with the targets.

        Args:
            heatmap_s4: f32 [B, K, H / 4, W / 4], predicted.
            targets: of the same crops.
            points, refined: the second stage's guided points and answers; None without one.
        """
        terms = {"heatmap": self.heatmap(heatmap_s4, targets.heatmap_s4, targets.weight)}
        if points is not None and refined is not None:
            labels = (points.offset, points.is_positive, targets.weight)
            terms["classification"] = self.classification(refined.logits, *labels)
            terms["regression"] = self.regression(refined.offset, *labels)
        return terms


def offset_unit(config: Config) -> float:
    """Heatmap pixels per unit of the regressed offset."""
    return config.positive_radius * config.sigma if config.offset_unit is OffsetUnit.radius else 1.0
