"""Mean absolute error where there is something to regress."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedL1(nn.Module):
    """``|prediction - target|``, averaged over the unmasked elements."""

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor, normalizer: Tensor | None = None) -> Tensor:
        """Scalar f32.

        Args:
            prediction: any float dtype, any shape.
            target: f32 of the same shape.
            mask: bool, broadcastable to that shape.
            normalizer: scalar divisor; None is the number of unmasked elements after broadcasting, at least 1.

        With nothing unmasked the loss is 0 and has gradient 0.
        """
        mask = mask.expand_as(prediction)
        error = torch.where(mask, (prediction.float() - target).abs(), 0.0)
        if normalizer is None:
            normalizer = mask.sum().clamp(min=1)
        return error.sum() / normalizer
