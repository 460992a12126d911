"""Where parts may be: peaks of the heatmaps, moved by block-inside offsets (section II-B, Eq. 8)."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Candidates(NamedTuple):
    """Up to M candidates for each of N parts, best first, in frame pixels."""

    points: Tensor
    """f32 [B, N, M, 2]."""
    scores: Tensor
    """f32 [B, N, M], the heatmap's value; 0 on padding."""
    is_real: Tensor
    """bool [B, N, M], False on padding."""


class Grid(NamedTuple):
    """The last stage's predictions on the network's own grid."""

    heatmaps: Tensor
    """f32 [B, N, h, w], without background."""
    offsets: Tensor | None
    """f32 [B, N, 2, h, w], cells."""
    cell: Tensor
    """f32 [B], frame pixels per cell."""


def find_peaks(heatmaps: Tensor, threshold: float, limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells above ``threshold`` that none of their four neighbours exceeds.

    Of a plateau only a first cell counts (each cell must exceed its left and upper neighbours).

    Args:
        heatmaps: [B, N, h, w].
        threshold: lower bound, exclusive.
        limit: largest number of peaks per map.

    Returns:
        flat cell index i64 [B, N, M] (row · w + column), value [B, N, M] best first, and bool [B, N, M]: False on
        padding, where index and value are 0. M is the largest number of peaks found in a map, at most ``limit``.
    """
    around = F.pad(heatmaps, (1, 1, 1, 1), value=-torch.inf)
    is_peak = (
        (heatmaps > threshold)
        & (heatmaps > around[..., 1:-1, :-2])
        & (heatmaps >= around[..., 1:-1, 2:])
        & (heatmaps > around[..., :-2, 1:-1])
        & (heatmaps >= around[..., 2:, 1:-1])
    ).flatten(2)
    found = min(limit, int(is_peak.sum(-1).amax())) if is_peak.numel() else 0
    values = heatmaps.flatten(2).masked_fill(~is_peak, -torch.inf)
    scores, cells = values.topk(found, dim=-1)
    is_real = scores.isfinite()
    return cells * is_real, scores.masked_fill(~is_real, 0), is_real


def grid_candidates(grid: Grid, threshold: float, limit: int) -> Candidates:
    """Peaks on the grid itself, at their cells' centres moved by the offsets there: P + f_d F (Eq. 8)."""
    cells, scores, is_real = find_peaks(grid.heatmaps, threshold, limit)
    width = grid.heatmaps.shape[-1]
    points = torch.stack((cells % width, cells // width), dim=-1) + 0.5
    if grid.offsets is not None:
        points = points + _at_cells(grid.offsets, cells)
    return Candidates(points * grid.cell.view(-1, 1, 1, 1), scores, is_real)  # Eq. 8


def frame_candidates(heatmaps: Tensor, threshold: float, limit: int) -> Candidates:
    """Peaks of maps [B, N, H, W] with one cell per frame pixel, at the pixels' centres."""
    cells, scores, is_real = find_peaks(heatmaps, threshold, limit)
    width = heatmaps.shape[-1]
    return Candidates(torch.stack((cells % width, cells // width), dim=-1) + 0.5, scores, is_real)


def vote(candidates: Candidates, grids: Sequence[Grid], threshold: float) -> Candidates:
    """Move candidates by the offsets of several grids: the mean of their votes, weighted by their heatmaps.

    Offsets of different scales count different pixels and must not be averaged. At each scale the cell under the
    candidate votes for its own joint, P_cell + f_d F, in the frame. A vote is dropped where the cell's heatmap is below
    ``threshold`` or the vote lies further away than one cell along an axis. Without votes a candidate stays.

    Args:
        candidates: from the averaged heatmaps.
        grids: one per scale, with offsets.
        threshold: smallest heatmap value of a voting cell.
    """
    total = torch.zeros_like(candidates.points)
    weights = torch.zeros_like(candidates.scores)
    for grid in grids:
        if grid.offsets is None:
            continue
        size = grid.cell.view(-1, 1, 1, 1)
        height, width = grid.heatmaps.shape[-2:]
        column, row = (candidates.points / size).floor().long().unbind(-1)
        column, row = column.clamp(0, width - 1), row.clamp(0, height - 1)
        cells = row * width + column
        votes = (torch.stack((column, row), dim=-1) + 0.5 + _at_cells(grid.offsets, cells)) * size
        heat = grid.heatmaps.flatten(2).gather(2, cells)
        near = ((votes - candidates.points).abs() <= size).all(-1)
        weight = heat * (near & (heat >= threshold))
        total = total + votes * weight[..., None]
        weights = weights + weight
    moved = total / weights.clamp_min(torch.finfo(weights.dtype).tiny)[..., None]
    return candidates._replace(points=torch.where((weights > 0)[..., None], moved, candidates.points))


def _at_cells(offsets: Tensor, cells: Tensor) -> Tensor:
    """Offsets [B, N, 2, h, w] at flat cells [B, N, M] -> [B, N, M, 2]."""
    return offsets.flatten(3).gather(3, cells[:, :, None].expand(-1, -1, 2, -1)).transpose(2, 3)
