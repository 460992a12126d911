"""Mean squared error of heatmaps with a weight per joint."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HeatmapMSE(nn.Module):
    """½ of the mean over samples, joints and pixels of (w H - w H*)², as in SimpleBaseline and HRNet.

    Joints of weight 0 count in the mean. An empty batch gives 0.
    """

    def forward(self, predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Compute the loss, in fp32 also under autocast.

        Args:
            predicted: f32 [B, K, h, w].
            target: f32 [B, K, h, w].
            weight: f32 [B, K] >= 0; 0 where the joint is not labelled.

        Returns:
            f32 scalar.
        """
        with torch.autocast(predicted.device.type, enabled=False):
            error = (predicted.float() - target).square().flatten(2).mean(-1) * weight.square()
            return 0.5 * error.sum() / max(weight.numel(), 1)
