"""Generalised IoU loss between boxes (Rezatofighi et al., Generalized Intersection over Union)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_SMALLEST_AREA = 1e-7


class GIoULoss(nn.Module):
    """``1 - GIoU`` of paired boxes, averaged over the pairs; 0 for equal boxes, near 2 for boxes far apart."""

    def forward(
        self, prediction: Tensor, target: Tensor, mask: Tensor | None = None, normalizer: Tensor | None = None
    ) -> Tensor:
        """Scalar f32.

        Args:
            prediction, target: [..., 4], x0 y0 x1 y1 in any one unit.
            mask: bool [...], which pairs count; None is all.
            normalizer: scalar divisor; None is the number of pairs that count, at least 1.

        Two boxes without area at one place have GIoU 0. With no pair the loss is 0 and has gradient 0.
        """
        prediction, target = prediction.float(), target.float()
        (low_a, high_a), (low_b, high_b) = prediction.split(2, dim=-1), target.split(2, dim=-1)
        overlap = _area(torch.maximum(low_a, low_b), torch.minimum(high_a, high_b))
        hull = _area(torch.minimum(low_a, low_b), torch.maximum(high_a, high_b))
        union = _area(low_a, high_a) + _area(low_b, high_b) - overlap
        loss = 1 - overlap / union.clamp(min=_SMALLEST_AREA) + (hull - union) / hull.clamp(min=_SMALLEST_AREA)
        mask = torch.ones_like(loss, dtype=torch.bool) if mask is None else mask
        if normalizer is None:
            normalizer = mask.sum().clamp(min=1)
        return torch.where(mask, loss, 0.0).sum() / normalizer


def _area(low: Tensor, high: Tensor) -> Tensor:
    width, height = (high - low).clamp(min=0).unbind(dim=-1)
    return width * height
