"""The loss term of all predictors, unweighted."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_modules.ssn.network import Output
from lightning_modules.ssn.targets import Targets
from losses.heatmap_mse import HeatmapMSE


class Criterion(nn.Module):
    """``heatmap``: the squared error of every predictor against the same targets.

    The paper does not say how predictors weigh. # choice: alike; the mean, so that rows of Table 2 share a scale.
    A batch without labelled keypoints gives a zero that still touches every predictor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mse = HeatmapMSE()

    def forward(self, output: Output, targets: Targets) -> dict[str, Tensor]:
        """fp32 scalars by name."""
        predictors = output.all_heatmaps_s4.shape[1]
        heatmap = targets.heatmap_s4[:, None].expand(-1, predictors, -1, -1, -1).flatten(1, 2)
        weight = targets.weight[:, None].expand(-1, predictors, -1).flatten(1)
        return {"heatmap": self.mse(output.all_heatmaps_s4.flatten(1, 2), heatmap, weight)}
