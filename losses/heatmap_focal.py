"""Penalty-reduced focal loss for keypoint heatmaps (Law and Deng, CornerNet, Eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HeatmapFocalLoss(nn.Module):
    """Focal loss whose negatives weigh less the nearer they lie to a keypoint.

    With probability ``p`` and target ``g``: ``-(1 - p)^alpha log p`` where ``g = 1``, else
    ``-(1 - g)^beta p^alpha log(1 - p)``; summed and divided by the number of ones in ``g``.

    Args:
        alpha: exponent of the focal weight.
        beta: exponent of the reduction around keypoints.
        margin: probabilities are clamped to [margin, 1 - margin]; beyond it the gradient is 0.
    """

    def __init__(self, alpha: float = 2.0, beta: float = 4.0, margin: float = 1e-4) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.margin = margin

    def forward(
        self, logits: Tensor, targets: Tensor, mask: Tensor | None = None, normalizer: Tensor | None = None
    ) -> Tensor:
        """Scalar f32.

        Args:
            logits: any float dtype, any shape.
            targets: f32 of the same shape in [0, 1]; exactly 1 at keypoints.
            mask: bool, broadcastable to that shape; False leaves an element out. None keeps all.
            normalizer: scalar divisor; None is the number of unmasked ones, at least 1.

        Without keypoints the negatives still count, undivided; with nothing unmasked the loss is 0 with gradient 0.
        """
        probability = logits.float().sigmoid().clamp(self.margin, 1 - self.margin)
        is_keypoint = targets == 1
        positive = (1 - probability) ** self.alpha * probability.log()
        negative = (1 - targets) ** self.beta * probability**self.alpha * (1 - probability).log()
        loss = -torch.where(is_keypoint, positive, negative)
        if mask is not None:
            loss = torch.where(mask, loss, 0.0)
            is_keypoint = is_keypoint & mask
        if normalizer is None:
            normalizer = is_keypoint.sum().clamp(min=1)
        return loss.sum() / normalizer
