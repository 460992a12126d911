"""Spatial attention loss mask: heavier weights near a limb's line, where the decoder reads the fields (Eqs. 15, 16)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """Weight α·G + 1 of a cell's error, G in [0, 1] being the Gaussian around the limb's segment (Eq. 15).

    α = 0 gives ones, the loss without attention.
    """

    def __init__(self, alpha: float = 10.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, gaussian: Tensor) -> Tensor:
        """G, f32 of any shape -> f32 of that shape."""
        return self.alpha * gaussian + 1  # Eq. 15


def squared_segment_distance(x: Tensor, y: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Squared distance of the points (x, y) to the segment between ``start`` and ``end``.

    Args:
        x: abscissae f32, broadcasting with ``start[..., 0]``: [1, w] and [h, 1] beside ends [N, 1, 1, 2] are a grid.
        y: ordinates, likewise.
        start: [..., 2], one end.
        end: [..., 2], the other end; equal to ``start``, the segment is that point.

    Returns:
        The broadcast shape, in the square of the coordinates' unit.
    """
    along_x, along_y = (end - start).unbind(-1)
    relative_x, relative_y = x - start[..., 0], y - start[..., 1]
    squared_length = (along_x.square() + along_y.square()).clamp_min(torch.finfo(start.dtype).tiny)
    position = ((relative_x * along_x + relative_y * along_y) / squared_length).clamp(0, 1)
    return (relative_x - position * along_x).square() + (relative_y - position * along_y).square()


def segment_gaussian(x: Tensor, y: Tensor, start: Tensor, end: Tensor, cell: float, min_sigma: float = 0.5) -> Tensor:
    """G of Eq. 15: exp(−d²/σ²), d the distance to the segment and σ a quarter of its length (Eq. 16).

    Args:
        x: abscissae, pixels; shapes as in ``squared_segment_distance``.
        y: ordinates, pixels.
        start: [..., 2], one end, pixels.
        end: [..., 2], the other end, pixels.
        cell: size of a cell, pixels: d and σ count cells.
        min_sigma: smallest σ, cells; it keeps short limbs visible between cells.

    Returns:
        The broadcast shape: 1 on the line, 1/e at the distance σ.
    """
    sigma = (end - start).square().sum(-1).sqrt() / (4 * cell)  # Eq. 16
    distance = squared_segment_distance(x, y, start, end)
    return (-distance / (sigma.clamp_min(min_sigma) * cell).square()).exp()
