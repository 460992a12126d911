"""Local maxima of heatmaps, on the device with fixed shapes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.ssa.network import HEATMAP_STRIDE


class Peaks(NamedTuple):
    """The M best of each joint type, best first."""

    points: Tensor
    """f32 [B, K, M, 2], x and y in input pixels."""
    scores: Tensor
    """f32 [B, K, M], heatmap value; 0 where there is no further candidate."""
    cells: Tensor
    """i64 [B, K, M, 2], column and row of the heatmap."""


def find_peaks(
    heatmaps: Tensor, *, window: int, threshold: float, max_candidates: int, is_inside: Tensor | None = None
) -> Peaks:
    """Cells above ``threshold`` that are the largest of the window around them (Section 2.4).

    Of equal cells within a window, as half precision makes them, the first in reading order is the peak. A point lies
    in the middle of its cell, moved a quarter of a cell towards the larger neighbour along each axis (not at all
    between equal ones, nor where one is missing).

    Args:
        heatmaps: [B, K, h, w], cells of 4 input pixels.
        window: side in cells, odd.
        is_inside: bool [B, h, w], False in padding, where nothing was learnt: such cells are missing. None has none.
    """
    heatmaps = heatmaps.float()
    if is_inside is not None:
        heatmaps = heatmaps.masked_fill(~is_inside[:, None], -torch.inf)
    height, width = heatmaps.shape[2:]
    is_peak = (heatmaps == window_maximum(heatmaps, window)) & (heatmaps > threshold)
    place = torch.arange(height * width, dtype=torch.float32, device=heatmaps.device).view(height, width)
    latest = torch.where(is_peak, -place, -torch.inf)
    is_peak = is_peak & (latest == window_maximum(latest, window))
    flat = heatmaps.flatten(2)
    scores, index = torch.where(is_peak.flatten(2), flat, 0.0).topk(min(max_candidates, height * width), dim=2)
    y = index // width
    x = index - y * width  # a remainder by a size that is not known yet has no form in ONNX

    def value(column: Tensor, row: Tensor) -> Tensor:
        found = flat.gather(2, row.clamp(0, height - 1) * width + column.clamp(0, width - 1))
        return torch.where((column >= 0) & (column < width) & (row >= 0) & (row < height), found, -torch.inf)

    around = torch.stack([value(x - 1, y), value(x + 1, y), value(x, y - 1), value(x, y + 1)], dim=3).unflatten(
        3, (2, 2)
    )
    slope = torch.where((around > -torch.inf).all(dim=4), around[..., 1] - around[..., 0], 0.0)
    cells = torch.stack([x, y], dim=3)
    return Peaks((cells + 0.5 + 0.25 * slope.sign()) * HEATMAP_STRIDE, scores, cells)


def window_maximum(maps: Tensor, window: int) -> Tensor:
    """The largest value of the ``window`` × ``window`` cells around each, those beyond the border −∞.

    Equal to ``max_pool2d`` with stride 1, which looks at every cell of a window. Here the maximum of one, two, four
    cells in a row is widened until it spans the window, along one axis and then the other.

    Args:
        maps: [..., h, w].
        window: side in cells, odd.
    """
    for axis in (-1, -2):
        maps = _widened(maps.transpose(axis, -1), window).transpose(axis, -1)
    return maps


def _widened(lines: Tensor, window: int) -> Tensor:
    """[..., n]: the largest of the ``window`` values around each."""
    widest, span = F.pad(lines, (window // 2, window // 2), value=-torch.inf), 1
    while span < window:
        step = min(span, window - span)
        widest, span = torch.maximum(widest[..., :-step], widest[..., step:]), span + step
    return widest
