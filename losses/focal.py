"""Focal loss on sigmoid logits (Lin et al., Focal Loss for Dense Object Detection, Eq. 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SigmoidFocalLoss(nn.Module):
    """``-alpha_t (1 - p_t)^gamma log p_t``, summed and divided by the number of positives.

    Args:
        alpha: weight of positives; negatives weigh ``1 - alpha``.
        gamma: how much easy examples are played down; 0 is weighted cross-entropy.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma

    def forward(
        self, logits: Tensor, targets: Tensor, mask: Tensor | None = None, normalizer: Tensor | None = None
    ) -> Tensor:
        """Scalar f32.

        Args:
            logits: any float dtype, any shape.
            targets: bool or float of the same shape; 1 is positive.
            mask: bool of the same shape; False leaves an element out. None keeps all.
            normalizer: scalar divisor; None is the number of unmasked positives, at least 1.

        Without positives the negatives still count, undivided; with nothing unmasked the loss is 0 and has gradient 0.
        """
        logits, targets = logits.float(), targets.float()
        probability = logits.sigmoid()
        cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        miss = probability + targets - 2 * probability * targets  # 1 - p_t
        weight = self.alpha * targets + (1 - self.alpha) * (1 - targets)
        loss = weight * miss**self.gamma * cross_entropy
        if mask is not None:
            loss = torch.where(mask, loss, 0.0)
            targets = torch.where(mask, targets, 0.0)
        if normalizer is None:
            normalizer = targets.sum().clamp(min=1.0)
        return loss.sum() / normalizer
