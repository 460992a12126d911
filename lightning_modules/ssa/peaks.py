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


def find_peaks(heatmaps: Tensor, *, window: int, threshold: float, max_candidates: int) -> Peaks:
    """Cells above ``threshold`` that are the largest of the window around them (Section 2.4).

    A point lies in the middle of its cell, moved a quarter of a cell towards the larger neighbour along each axis
    (not at all between equal ones).

    Args:
        heatmaps: [B, K, h, w], cells of 4 input pixels.
        window: side in cells, odd.
    """
    heatmaps = heatmaps.float()
    height, width = heatmaps.shape[2:]
    is_peak = (heatmaps == F.max_pool2d(heatmaps, window, 1, window // 2)) & (heatmaps > threshold)
    flat = heatmaps.flatten(2)
    scores, index = torch.where(is_peak.flatten(2), flat, 0.0).topk(min(max_candidates, height * width), dim=2)
    y = index // width
    x = index - y * width  # a remainder by a size that is not known yet has no form in ONNX

    def value(column: Tensor, row: Tensor) -> Tensor:
        return flat.gather(2, row.clamp(0, height - 1) * width + column.clamp(0, width - 1))

    slope = torch.stack([value(x + 1, y) - value(x - 1, y), value(x, y + 1) - value(x, y - 1)], dim=3)
    cells = torch.stack([x, y], dim=3)
    return Peaks((cells + 0.5 + 0.25 * slope.sign()) * HEATMAP_STRIDE, scores, cells)
