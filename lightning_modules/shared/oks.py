"""Object keypoint similarity between people, and non-maximum suppression by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.skeleton import Skeleton


def object_keypoint_similarity(
    first: Tensor, second: Tensor, area: Tensor, sigmas: Tensor, is_counted: Tensor | None = None
) -> Tensor:
    """COCO's OKS: the mean over keypoints of exp(−d² / (2 · area · (2σ)²)).

    All arguments broadcast over the dimensions in front.

    Args:
        first, second: f32 [..., K, 2], the same unit.
        area: f32 [...], of the person, in that unit squared.
        sigmas: f32 [K], see ``Skeleton``.
        is_counted: bool [..., K]; None counts all.

    Returns:
        f32 [...] in [0, 1]; 0 where no keypoint is counted.
    """
    squared = (first - second).square().sum(dim=-1)
    spread = 2 * area[..., None].clamp_min(torch.finfo(area.dtype).tiny) * (2 * sigmas).square()
    similarity = torch.exp(-squared / spread)
    if is_counted is None:
        return similarity.mean(dim=-1)
    return (similarity * is_counted).sum(dim=-1) / is_counted.sum(dim=-1).clamp_min(1)


def oks_nms(
    keypoints: Tensor, scores: Tensor, areas: Tensor, is_valid: Tensor, sigmas: Tensor, threshold: float
) -> Tensor:
    """Of two people of an image whose OKS is above ``threshold`` the lower-scored one goes, best first.

    The area of a pair is the mean of both (SimpleBaseline). Images of a batch are treated side by side.

    Args:
        keypoints: f32 [B, N, K, 2], pixels.
        scores: f32 [B, N].
        areas: f32 [B, N], pixels squared.
        is_valid: bool [B, N]; others neither stay nor suppress.
        sigmas: f32 [K].

    Returns:
        bool [B, N], who stays. Among equal scores the earlier comes first.
    """
    people = scores.shape[1]
    order = torch.where(is_valid, scores, -torch.inf).argsort(dim=1, descending=True, stable=True)
    points = keypoints.gather(1, order[..., None, None].expand_as(keypoints))
    size = areas.gather(1, order)
    pair_area = (size[:, :, None] + size[:, None]) / 2
    near = object_keypoint_similarity(points[:, :, None], points[:, None], pair_area, sigmas) > threshold
    stays = is_valid.gather(1, order)
    for best in range(people):
        beaten = near[:, best] & stays[:, best : best + 1]
        beaten[:, : best + 1] = False
        stays = stays & ~beaten
    return torch.zeros_like(stays).scatter(1, order, stays)


class SuppressDuplicates:
    """OKS-NMS over the people of one photograph, wherever their crops were evaluated.

    Args:
        skeleton: gives the OKS sigmas.
        threshold: OKS above which the lower-scored of two goes.
    """

    def __init__(self, skeleton: Skeleton, threshold: float) -> None:
        self.sigmas = torch.tensor(skeleton.sigmas)
        self.threshold = threshold

    def __call__(self, keypoints: NDArray[Any], scores: NDArray[Any], areas: NDArray[Any]) -> NDArray[Any]:
        """``keypoints`` f32 [n, K, 3], ``scores`` and ``areas`` f32 [n] -> bool [n], who stays. n may be 0."""
        if len(scores) < 2:
            return np.ones(len(scores), dtype=bool)
        points, values, sizes = (torch.from_numpy(array)[None] for array in (keypoints[..., :2], scores, areas))
        is_valid = torch.ones_like(values, dtype=torch.bool)
        return oks_nms(points, values, sizes, is_valid, self.sigmas, self.threshold)[0].numpy()
