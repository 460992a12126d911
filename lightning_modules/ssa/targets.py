"""Batch -> heatmaps, attending cells and masks, on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.contracts import PoseBatch
from lightning_modules.shared.gaussians import window_cells
from lightning_modules.ssa.network import HEATMAP_STRIDE


class Targets(NamedTuple):
    heatmap_s4: Tensor
    """f32 [B, K, H/4, W/4] in [0, 1]."""
    ignore: Tensor
    """bool [B, H/4, W/4], True where no heatmap is learnt."""
    cells: Tensor
    """i64 [B, P, K], token of each keypoint, row-major; 0 where it is not labelled."""
    is_labelled: Tensor
    """bool [B, P, K]."""
    masks: Tensor
    """bool [B, P, H/4, W/4]."""


@torch.no_grad()
def encode_targets(batch: PoseBatch, *, grid: tuple[int, int], sigma: float) -> Targets:
    """What the network should say about ``batch``.

    Args:
        batch: with ``instance_masks``.
        grid: h and w of the tokens.
        sigma: of a keypoint's Gaussian, heatmap cells.

    Raises:
        ValueError: the batch has no instance masks.
    """
    if batch.instance_masks is None:
        raise ValueError("SSA learns from instance masks: set data.instance_masks=true")
    height, width = batch.images.shape[2:]
    keypoints = batch.persons.keypoints
    is_labelled = (batch.persons.visibility > 0) & batch.persons.is_real[..., None]
    return Targets(
        heatmap_s4=draw_heatmaps(keypoints, is_labelled, (height // HEATMAP_STRIDE, width // HEATMAP_STRIDE), sigma),
        ignore=batch.ignore,
        cells=token_cells(keypoints, grid, (height, width)).masked_fill(~is_labelled, 0),
        is_labelled=is_labelled,
        masks=batch.instance_masks,
    )


def token_cells(points: Tensor, grid: tuple[int, int], input_hw: tuple[int, int]) -> Tensor:
    """Row-major token index int(y/r)·w + int(x/r) of points [..., 2] in input pixels (Eq. 2); i64 [...]."""
    columns = (points[..., 0] * (grid[1] / input_hw[1])).long().clamp(0, grid[1] - 1)
    rows = (points[..., 1] * (grid[0] / input_hw[0])).long().clamp(0, grid[0] - 1)
    return rows * grid[1] + columns


def draw_heatmaps(points: Tensor, is_drawn: Tensor, map_hw: tuple[int, int], sigma: float) -> Tensor:
    """Gaussians centred on the cells that hold the points, of width ``sigma`` and cut at 3σ + 1 cells.

    Where people meet the larger value stands. The cell's own value is 1.

    Args:
        points: f32 [B, P, K, 2], input pixels.
        is_drawn: bool [B, P, K].
        map_hw: height and width of the maps, cells of 4 pixels.
        sigma: cells.

    Returns:
        f32 [B, K, h, w].
    """
    batch, people, joints = is_drawn.shape
    offsets, index, is_inside = window_cells((points / HEATMAP_STRIDE).floor().long(), int(3 * sigma + 1), map_hw)
    bell = torch.exp(-offsets.float().square().sum(1) / (2 * sigma**2))
    drawn = bell * (is_inside & is_drawn[..., None])
    maps = torch.zeros(batch, joints, map_hw[0] * map_hw[1], device=points.device)
    flat = (batch, joints, people * len(bell))
    maps.scatter_reduce_(2, index.transpose(1, 2).reshape(flat), drawn.transpose(1, 2).reshape(flat), reduce="amax")
    return maps.view(batch, joints, *map_hw)


@torch.no_grad()
def ideal_rows(targets: Targets, cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """The attention the supervision asks for: a keypoint's cell attends evenly to the mask of its person.

    A cell that holds keypoints of several people attends to all of them: one row cannot tell them apart. A cell
    without a keypoint attends everywhere.

    Args:
        cells: i64 [B, R], tokens whose rows are asked for.

    Returns:
        f32 [B, R, L], rows sum to 1.
    """
    batch, people, _ = targets.is_labelled.shape
    coverage = F.adaptive_avg_pool2d(targets.masks.float().flatten(0, 1)[:, None], grid).view(batch, people, -1)
    shares = coverage / coverage.sum(2, keepdim=True).clamp_min(1e-12)
    is_here = (targets.cells[:, :, :, None] == cells[:, None, None]) & targets.is_labelled[..., None]
    rows = is_here.any(2).float().transpose(1, 2) @ shares
    total = rows.sum(2, keepdim=True)
    return torch.where(total > 0, rows / total.clamp_min(1e-12), 1.0 / (grid[0] * grid[1]))
