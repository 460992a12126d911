"""Instance masks as the target of self-attention (SSA, Eq. 2 and 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST_PEAK = 1e-12


def person_attention(rows: Tensor, is_member: Tensor) -> Tensor:
    """Mean of a person's attention rows (Eq. 2).

    Args:
        rows: f32 [..., K, L], the attention row of each keypoint's cell.
        is_member: bool [..., K], the keypoints that count.

    Returns:
        f32 [..., L]; 0 for a person without keypoints.
    """
    weight = is_member.to(rows.dtype)
    return (rows * weight[..., None]).sum(-2) / weight.sum(-1, keepdim=True).clamp_min(1)


def normalised_attention(attention: Tensor) -> Tensor:
    """Person attention over L cells, [..., L], divided by its maximum; 0 stays 0. Gradients pass the maximum."""
    return attention / attention.amax(-1, keepdim=True).clamp_min(SMALLEST_PEAK)


class InstanceMaskLoss(nn.Module):
    """Squared error between normalised person attention, upsampled bilinearly, and the person's mask (Eq. 3).

    Mean over pixels, then over the persons of an image, then over images. Persons without a labelled keypoint or
    without a mask are left out; an image without persons contributes 0 that still touches ``rows``.
    """

    def forward(self, rows: Tensor, is_labelled: Tensor, masks: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute the loss, in fp32 also under autocast.

        Args:
            rows: f32 [B, P, K, L], attention row of each keypoint; anything finite where it is not labelled.
            is_labelled: bool [B, P, K].
            masks: bool [B, P, H, W] at the resolution of the comparison, a quarter of the input's.
            grid: h and w of the attention, h × w = L.

        Returns:
            f32 scalar.
        """
        with torch.autocast(rows.device.type, enabled=False):
            attention = normalised_attention(person_attention(rows.float(), is_labelled))
            target = masks.float()
            maps = attention.reshape(-1, 1, *grid)
            upsampled = F.interpolate(maps, size=masks.shape[2:], mode="bilinear", align_corners=False)
            error = (upsampled.view_as(target) - target).square().mean(dim=(2, 3))  # Eq. 3, [B, P]
            is_supervised = (is_labelled.any(2) & masks.flatten(2).any(2)).float()
            per_image = (error * is_supervised).sum(1) / is_supervised.sum(1).clamp_min(1)
            return per_image.mean()
