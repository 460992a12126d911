"""Predicted people on the host and in COCO's result format: which of an image count, and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from datamodules.contracts import Predictions

MAX_DETECTIONS = 20
"""COCO scores the 20 best people of an image."""

Suppress = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""The n people of an image (f32 [n, K, 3] keypoints, [n] scores, [n] areas) -> bool [n], who stays."""


def best_rows(keypoints: np.ndarray, scores: np.ndarray, areas: np.ndarray, suppress: Suppress | None) -> np.ndarray:
    """Rows i64 [m <= ``MAX_DETECTIONS``] of the people of an image that count, best first, duplicates left out."""
    order = np.argsort(-scores, kind="stable")
    if suppress is not None:
        order = order[suppress(keypoints[order], scores[order], areas[order])]
    return order[:MAX_DETECTIONS]


def person_areas(predictions: Predictions) -> np.ndarray:
    """f32 [B, Q], what ``Predictions.areas`` says; joints that were not found, 0 0 0, have no extent."""
    if predictions.areas is not None:
        areas = predictions.areas
    elif predictions.boxes is not None:
        areas = (predictions.boxes[..., 2:] - predictions.boxes[..., :2]).clamp_min(0).prod(dim=-1)
    else:
        places, is_found = predictions.keypoints[..., :2], predictions.keypoints.any(dim=-1, keepdim=True)
        low = places.masked_fill(~is_found, torch.inf).amin(dim=-2)
        high = places.masked_fill(~is_found, -torch.inf).amax(dim=-2)
        areas = (high - low).clamp_min(0).prod(dim=-1)
    return areas.detach().float().cpu().numpy()


def to_result(image_id: int, category_id: int, keypoints: np.ndarray, score: float) -> dict[str, Any]:
    """An entry of COCO's result format. Keypoints [K, 3] become pixel indices, rounded to a thousandth of a pixel.

    A joint that was not found, 0 0 0, stays so.
    """
    is_found = keypoints.any(axis=1, keepdims=True)
    shifted = keypoints.astype(np.float64) - np.array([0.5, 0.5, 0.0]) * is_found
    return {
        "image_id": image_id,
        "category_id": category_id,
        "keypoints": shifted.round(3).reshape(-1).tolist(),
        "score": score,
    }


def to_host(predictions: Predictions) -> tuple[np.ndarray, ...]:
    """Keypoints, scores, is_valid, sample_id and image_id as arrays: their bits travel side by side as int32."""
    batch, people, joints, _ = predictions.keypoints.shape
    parts = (
        predictions.keypoints.detach().float().contiguous().view(torch.int32).reshape(batch, -1),
        predictions.scores.detach().float().contiguous().view(torch.int32),
        predictions.is_valid.to(torch.int32),
        predictions.sample_id.contiguous().view(torch.int32).reshape(batch, 2),
        predictions.image_id.contiguous().view(torch.int32).reshape(batch, 2),
    )
    packed = torch.cat(parts, dim=1).cpu().numpy()
    ends = np.cumsum([part.shape[1] for part in parts])
    keypoints, scores, is_valid, sample_id, image_id = (
        np.ascontiguousarray(piece) for piece in np.split(packed, ends[:-1], axis=1)
    )
    return (
        keypoints.view(np.float32).reshape(batch, people, joints, 3),
        scores.view(np.float32),
        is_valid.astype(bool),
        sample_id.view(np.int64).reshape(batch),
        image_id.view(np.int64).reshape(batch),
    )
