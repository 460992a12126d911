"""Which location answers for which person (Section 3.1), and which of them train their KP-Nets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.inspose.locations import STRIDES, Locations


def pseudo_boxes(keypoints: Tensor, is_labelled: Tensor, min_size: float) -> Tensor:
    """Minimum enclosing rectangles of the labelled keypoints.

    Args:
        keypoints: f32 [B, P, K, 2], input pixels.
        is_labelled: bool [B, P, K].
        min_size: shorter sides are widened to this about their middle, so that one keypoint is a box too; pixels.

    Returns:
        f32 [B, P, 4], x0 y0 x1 y1; zeros where nothing is labelled.
    """
    labelled = is_labelled.unsqueeze(-1)
    low = torch.where(labelled, keypoints, torch.inf).amin(dim=2)
    high = torch.where(labelled, keypoints, -torch.inf).amax(dim=2)
    middle, half = (low + high) / 2, ((high - low) / 2).clamp(min=min_size / 2)
    boxes = torch.cat([middle - half, middle + half], dim=-1)
    return torch.where(is_labelled.any(dim=2, keepdim=True), boxes, 0.0)


def assign(
    boxes: Tensor, is_person: Tensor, locations: Locations, center_radius: float, size_limits: list[float]
) -> Tensor:
    """The person each location is positive for.

    A location is positive if it lies strictly inside the centre region, ``center_radius`` strides around the middle of
    the box and clipped to the box, and its level is responsible for the largest distance to a side of the box
    (both limits included). Of several people the one with the smallest box has it.

    Args:
        boxes: f32 [B, P, 4], P >= 1, input pixels.
        is_person: bool [B, P].
        locations: L of them.
        size_limits: upper limits of P3 to P6, input pixels; P7 has none.

    Returns:
        i64 [B, L], person index, -1 for a negative.
    """
    half = ((boxes[..., 2:] - boxes[..., :2]) / 2).unsqueeze(2)
    middle = (boxes[..., :2] + boxes[..., 2:]).unsqueeze(2) / 2
    distance = (locations.points - middle).abs()
    reach = torch.minimum(half, center_radius * locations.strides.unsqueeze(-1))
    is_inside = (distance < reach).all(dim=-1)
    largest = (distance + half).amax(dim=-1)
    # filled on the device: a list copied there would make the host wait
    limits = torch.stack([boxes.new_full((), limit) for limit in (-1.0, *size_limits, torch.inf)])
    is_responsible = (largest >= limits[locations.levels]) & (largest <= limits[locations.levels + 1])
    area = 4 * half.prod(dim=-1)
    candidates = torch.where(is_inside & is_responsible & is_person.unsqueeze(-1), area, torch.inf)
    smallest, person = candidates.min(dim=1)
    return torch.where(smallest.isfinite(), person, -1)


def ignored_locations(ignore: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """bool [B, L]: locations inside ignored regions, where at least two of the four cells of stride 4 around it are.

    Args:
        ignore: bool [B, h, w] of stride 4, ``PoseBatch.ignore``; outside of it everything is ignored.
        shapes: height and width of P3 to P7.
    """
    parts = []
    for stride, (height, width) in zip(STRIDES, shapes, strict=True):
        step = stride // 4
        missing = (0, max(0, width * step - ignore.shape[2]), 0, max(0, height * step - ignore.shape[1]))
        padded = F.pad(ignore.to(torch.float32), missing, value=1.0).unsqueeze(1)
        around = F.avg_pool2d(padded[:, :, step // 2 - 1 :, step // 2 - 1 :], kernel_size=2, stride=step)
        parts.append((around[:, 0, :height, :width] >= 0.5).flatten(1))
    return torch.cat(parts, dim=1)


class Positives(NamedTuple):
    """The locations whose KP-Nets are trained, N per image."""

    locations: Tensor
    """i64 [B, N] into the L locations."""
    person: Tensor
    """i64 [B, N], 0 where not valid."""
    is_valid: Tensor
    """bool [B, N]."""


def select_positives(person_index: Tensor, scores: Tensor, max_positives: int) -> Positives:
    """At most ``max_positives`` per image, shared out fairly: every person's best location, then every second best …

    Args:
        person_index: i64 [B, L] from ``assign``.
        scores: [B, L]; the better of two locations has the higher one.

    Returns:
        N = min(max_positives, L), the same for every batch of a size, so shapes never depend on the data.
    """
    count = person_index.shape[1]
    best_first = scores.detach().argsort(dim=1, descending=True, stable=True)
    person = person_index.gather(1, best_first)
    by_person = person.argsort(dim=1, stable=True)
    grouped = person.gather(1, by_person)
    place = torch.arange(count, device=person.device).expand_as(grouped)
    starts = F.pad(grouped[:, 1:] != grouped[:, :-1], (1, 0), value=True)
    rank = place - torch.where(starts, place, 0).cummax(dim=1).values
    rank = torch.where(grouped < 0, count, rank)
    rank = torch.empty_like(rank).scatter_(1, by_person, rank)
    chosen = rank.argsort(dim=1, stable=True)[:, :max_positives]
    is_valid = rank.gather(1, chosen) < count
    return Positives(best_first.gather(1, chosen), person.gather(1, chosen).clamp(min=0), is_valid)
