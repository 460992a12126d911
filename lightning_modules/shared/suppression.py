"""Greedy non-maximum suppression: a whole batch at once with fixed shapes, or where nobody waits torchvision's loop."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms


class Suppression(Enum):
    """What happens to a box that overlaps a better one."""

    hard = "hard"
    """It is dropped where IoU exceeds the threshold."""
    soft_linear = "soft_linear"
    """Its score is multiplied by 1 - IoU where IoU exceeds the threshold (Bodla et al., Soft-NMS, Eq. 2)."""
    soft_gaussian = "soft_gaussian"
    """Its score is multiplied by exp(-IoU² / sigma) (Soft-NMS, Eq. 3)."""


class Kept(NamedTuple):
    """What survives, best first."""

    indices: Tensor
    """i64 [B, M] into the candidates; 0 on padding."""
    scores: Tensor
    """f32 [B, M], after suppression; 0 on padding."""
    is_valid: Tensor
    """bool [B, M], False on padding."""


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of broadcastable boxes ``[..., 4]`` (x0 y0 x1 y1), ``[...]``; 0 where both have no area."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    union = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1) - overlap
    return torch.where(union > 0, overlap / union, 0.0)


def suppress(
    boxes: Tensor,
    scores: Tensor,
    is_valid: Tensor,
    *,
    method: Suppression,
    threshold: float,
    max_out: int,
    sigma: float = 0.5,
    min_score: float = 0.0,
) -> Kept:
    """Pick the best box, lower the scores of those it overlaps, and again, at most ``max_out`` times.

    Args:
        boxes: f32 [B, N, 4], x0 y0 x1 y1.
        scores: f32 [B, N], at least 0.
        is_valid: bool [B, N]; False never comes out.
        method: how overlap lowers a score.
        threshold: IoU above which ``hard`` and ``soft_linear`` act; an IoU equal to it does nothing.
        max_out: M, the most that comes out per image.
        sigma: of ``soft_gaussian``.
        min_score: a box whose lowered score is not above it is dropped.

    Returns:
        M = min(max_out, N) entries per image; among equal scores the earlier comes first. Not differentiable.
    """
    batch, candidates = scores.shape
    rounds = min(max_out, candidates)
    if method is Suppression.hard and scores.device.type == "cpu" and not torch.compiler.is_compiling():
        return _hard_on_cpu(boxes, scores, is_valid & (scores > min_score), threshold, rounds)
    index = torch.zeros(batch, rounds, dtype=torch.int64, device=scores.device)
    kept = torch.zeros(batch, rounds, dtype=scores.dtype, device=scores.device)
    if not rounds:
        return Kept(index, kept, kept > 0)
    order = torch.where(is_valid, scores, -1.0).argsort(dim=1, descending=True, stable=True)
    boxes = boxes.gather(1, order.unsqueeze(-1).expand_as(boxes))
    remaining = torch.where(is_valid & (scores > min_score), scores, -1.0).gather(1, order)
    position = torch.arange(candidates, device=scores.device)
    for i in range(rounds):
        best_score = remaining.amax(dim=1, keepdim=True)
        best = torch.where(remaining == best_score, position, candidates).amin(dim=1, keepdim=True)
        index[:, i : i + 1], kept[:, i : i + 1] = order.gather(1, best), best_score
        iou = box_iou(boxes.gather(1, best.unsqueeze(-1).expand(-1, -1, 4)), boxes)
        if method is Suppression.hard:
            remaining = torch.where(iou > threshold, -1.0, remaining)
        else:
            if method is Suppression.soft_linear:
                lowered = remaining * torch.where(iou > threshold, 1 - iou, 1.0)
            else:
                lowered = remaining * torch.exp(-(iou**2) / sigma)
            remaining = torch.where((remaining >= 0) & (lowered > min_score), lowered, -1.0)
        remaining = remaining.scatter(1, best, -1.0)
    found = kept >= 0
    return Kept(torch.where(found, index, 0), torch.where(found, kept, 0.0), found)


def _hard_on_cpu(boxes: Tensor, scores: Tensor, is_candidate: Tensor, threshold: float, rounds: int) -> Kept:
    """The same by torchvision's compiled loop, one image at a time, of as many as it finds."""
    index = torch.zeros(len(scores), rounds, dtype=torch.int64)
    found = torch.zeros(len(scores), rounds, dtype=torch.bool)
    threshold = torch.tensor(threshold, dtype=boxes.dtype).item()  # which it compares in double precision
    for image, stays in enumerate(is_candidate):
        chosen = stays.nonzero().squeeze(1)
        best = chosen[nms(boxes[image, chosen], scores[image, chosen], threshold)[:rounds]]
        index[image, : len(best)], found[image, : len(best)] = best, True
    return Kept(index, torch.where(found, scores.gather(1, index), 0.0), found)
