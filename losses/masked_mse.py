"""Squared error of heatmaps outside ignored regions (SSA, Eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedMSE(nn.Module):
    """Mean squared error over images, channels and pixels; ignored ones count with an error of 0.

    The mean is over all pixels, ignored ones included, so an image weighs by what can be learnt from it. Everything
    ignored gives 0 that still touches ``prediction``. fp32 under any autocast.
    """

    def forward(self, prediction: Tensor, target: Tensor, ignore: Tensor) -> Tensor:
        """Compute the loss, in fp32 also under autocast.

        Args:
            prediction: [B, K, H, W].
            target: f32 [B, K, H, W].
            ignore: bool, broadcasting to ``prediction``: True where nothing is learnt.

        Returns:
            f32 scalar.
        """
        with torch.autocast(prediction.device.type, enabled=False):
            error = (prediction.float() - target.float()).square()
            return error.masked_fill(ignore, 0.0).mean()
