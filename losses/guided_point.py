"""Losses of guided points: points sampled around keypoints, each classified and moved onto its keypoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class GuidedPointClassification(nn.Module):
    """Is a guided point at its keypoint? Two-class cross-entropy, positives weighed by their nearness.

    Graph-PCNN, Eq. 8: per keypoint ½ [1/N⁺ Σ⁺ α CE(c, 1) + 1/N⁻ Σ⁻ CE(c, 0)] with α = exp(-‖s - t‖² / 2σ²), then the
    mean over keypoints weighed by γ (Eq. 10). A set without points adds nothing. If every γ is 0 the loss is 0.

    Args:
        sigma: σ, in the unit of the offsets.
    """

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, logits: Tensor, offset: Tensor, is_positive: Tensor, weight: Tensor) -> Tensor:
        """Compute the loss, in fp32 also under autocast.

        Args:
            logits: f32 [B, K, N, 2]: background, keypoint.
            offset: f32 [B, K, N, 2], true offset t - s.
            is_positive: bool [B, K, N].
            weight: f32 [B, K] >= 0, γ; 0 where the keypoint is not labelled.

        Returns:
            f32 scalar.
        """
        with torch.autocast(logits.device.type, enabled=False):
            flat = logits.float().flatten(0, 2)
            entropy = cross_entropy(flat, is_positive.flatten().long(), reduction="none").view_as(is_positive)
            alpha = torch.exp(-offset.float().square().sum(-1) / (2 * self.sigma**2))
            positive = _mean_where(alpha * entropy, is_positive)
            negative = _mean_where(entropy, ~is_positive)
            return _weighted_mean(0.5 * (positive + negative), weight)  # Eq. 8


class GuidedPointRegression(nn.Module):
    """How far is the keypoint from its guided point? L1 over the positive points.

    Graph-PCNN, Eq. 9: per keypoint 1/N⁺ Σ⁺ |r - (t - s)|, the mean of x and y, then the mean over keypoints weighed
    by γ (Eq. 10). A keypoint without positive points adds nothing. If every γ is 0 the loss is 0.

    Args:
        unit: what one unit of the prediction is worth in the unit of the true offsets; the loss is in predicted units.
    """

    def __init__(self, unit: float = 1.0) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, predicted: Tensor, offset: Tensor, is_positive: Tensor, weight: Tensor) -> Tensor:
        """Compute the loss, in fp32 also under autocast.

        Args:
            predicted: f32 [B, K, N, 2], r.
            offset: f32 [B, K, N, 2], true offset t - s.
            is_positive: bool [B, K, N].
            weight: f32 [B, K] >= 0, γ; 0 where the keypoint is not labelled.

        Returns:
            f32 scalar.
        """
        with torch.autocast(predicted.device.type, enabled=False):
            error = (predicted.float() - offset.float() / self.unit).abs().mean(-1)
            return _weighted_mean(_mean_where(error, is_positive), weight)  # Eq. 9


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of [B, K, N] over the points of ``mask``, 0 where there is none -> [B, K]."""
    return (values * mask).sum(-1) / mask.sum(-1).clamp_min(1)


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ γ_k L_k / Σ γ_k over the batch (Eq. 10); 0, with gradients of 0, where every weight is."""
    total = weight.float().sum()
    return (values * weight.float()).sum() / torch.where(total > 0, total, 1.0)
