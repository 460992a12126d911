"""From one person per crop to people in photographs."""

from __future__ import annotations

import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, Predictions


def people_of_crops(points: Tensor, joint_scores: Tensor, scores: Tensor, batch: PoseBatch) -> Predictions:
    """One person per crop in the photograph, valid where the crop's person is real.

    Args:
        points: f32 [B, K, 2], x and y, pixels of the crop.
        joint_scores: f32 [B, K].
        scores: f32 [B], of the person.
        batch: the crops.

    Returns:
        Q = 1. ``boxes`` are those the crops were made for; ``areas`` the crops' own, as in SimpleBaseline's and HRNet's
        OKS-NMS.
    """
    meta = batch.meta
    corners = _to_photograph(batch.persons.boxes[:, 0].unflatten(1, (2, 2)), meta.to_original)
    areas = meta.input_hw.prod(dim=1) * torch.linalg.det(meta.to_original[:, :, :2].float()).abs()
    return Predictions(
        keypoints=torch.cat([_to_photograph(points, meta.to_original), joint_scores[..., None]], dim=-1)[:, None],
        scores=scores[:, None],
        is_valid=batch.persons.is_real[:, :1],
        sample_id=meta.sample_id,
        image_id=meta.image_id,
        boxes=torch.cat([corners.amin(1), corners.amax(1)], dim=1)[:, None],
        areas=areas[:, None],
    )


def _to_photograph(points: Tensor, to_original: Tensor) -> Tensor:
    """[B, N, 2], crop pixels, by the maps [B, 2, 3]."""
    return points @ to_original[:, :, :2].mT + to_original[:, None, :, 2]
