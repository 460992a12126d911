"""From heatmaps to guided points to people in the photograph (§3.4, "Training and Testing").

Frame: heatmap pixel indices as in ``targets.py``; a joint on index u lies at input coordinate 4 u.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, Predictions
from lightning_modules.graph_pcnn.trunks import STRIDE
from lightning_modules.shared.crops import people_of_crops


class Pose(NamedTuple):
    """One person per crop, heatmap pixels."""

    stage1: Tensor
    """f32 [B, K, 2], decoded heatmap peak: the guided point s of the test."""
    stage2: Tensor | None
    """f32 [B, K, 2], s + r (Eq. 5); None without a second stage."""
    score: Tensor
    """f32 [B, K], heat response at the peak; both stages' keypoint score."""


def mirror_points(position: Tensor, width: int, flip_permutation: Tensor) -> Tensor:
    """Points f32 [B, K, ..., 2] of an image -> the same places in its mirror image, left and right swapped.

    Index u goes to ``width`` - u: the first column's places lie beyond the mirror image's map, by up to a cell.
    """
    swapped = position[:, flip_permutation]
    return torch.stack([width - swapped[..., 0], swapped[..., 1]], dim=-1)


def mirror_offsets(offset: Tensor, flip_permutation: Tensor) -> Tensor:
    """Offsets f32 [B, K, ..., 2] in an image -> the same offsets in its mirror image."""
    swapped = offset[:, flip_permutation]
    return torch.stack([-swapped[..., 0], swapped[..., 1]], dim=-1)


def to_predictions(position: Tensor, score: Tensor, batch: PoseBatch, threshold: float) -> Predictions:
    """Poses on the heatmap -> one person per crop in the photograph, valid where the crop's person is real.

    The person's score is the box's times the mean of the keypoint scores above ``threshold``, 0 if none is.

    Args:
        position: f32 [B, K, 2], heatmap pixels.
        score: f32 [B, K].
        batch: the crops.
        threshold: least score of a keypoint that counts.
    """
    counts = score > threshold
    mean = (score * counts).sum(1) / counts.sum(1).clamp_min(1)
    return people_of_crops(position.float() * STRIDE, score, mean * batch.meta.detection_score, batch)
