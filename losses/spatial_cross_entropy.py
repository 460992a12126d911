"""Softmax cross-entropy over the cells of a map: one cell is right, all others are wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpatialCrossEntropy(nn.Module):
    """``-log softmax(map)[target cell]``, averaged over the maps that have a target."""

    def forward(
        self,
        logits: Tensor,
        cells: Tensor,
        mask: Tensor,
        allowed: Tensor | None = None,
        normalizer: Tensor | None = None,
    ) -> Tensor:
        """Scalar f32.

        Args:
            logits: [..., h, w], any float dtype.
            cells: i64 [...], row-major index of the target cell, ``x + w * y``.
            mask: bool [...], which maps have a target; the others are left out.
            allowed: bool, broadcastable to [..., h, w]; cells that are False take no part in the softmax.
            normalizer: scalar divisor; None is the number of maps with a target, at least 1.

        Without any target the loss is 0 and has gradient 0.
        """
        flat = logits.float().flatten(-2)
        if allowed is not None:
            flat = flat.masked_fill(~allowed.flatten(-2), float("-inf"))
        target_logit = flat.gather(-1, cells.unsqueeze(-1)).squeeze(-1)
        loss = torch.where(mask, flat.logsumexp(-1) - target_logit, 0.0)
        if normalizer is None:
            normalizer = mask.sum().clamp(min=1)
        return loss.sum() / normalizer
