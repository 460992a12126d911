"""Where the heads predict: every cell of the pyramid levels P3 to P7, one after the other, row by row."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STRIDES = (8, 16, 32, 64, 128)
FEATURE_STRIDE = STRIDES[0]
"""Of P3, and so of the keypoint features, the disk offsets and the auxiliary heatmap."""


class Locations(NamedTuple):
    """The L locations of an input."""

    points: Tensor
    """f32 [L, 2], x and y in input pixels: ``(x s + s / 2, y s + s / 2)``, a cell's centre (Section 3.1)."""
    strides: Tensor
    """f32 [L]."""
    levels: Tensor
    """i64 [L], 0 for P3."""

    @property
    def scales(self) -> Tensor:
        """f32 [L], what a KP-Net's relative coordinates are divided by: 64 · 2^level, eight strides."""
        return 8 * self.strides


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def level_shapes(image_hw: tuple[int, int]) -> list[tuple[int, int]]:
    """Height and width of P3 to P7 for an input of ``image_hw`` pixels."""
    return [(ceil_div(image_hw[0], stride), ceil_div(image_hw[1], stride)) for stride in STRIDES]


def cell_centers(map_hw: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """f32 [h · w, 2], x and y of the cells' centres in input pixels, row-major."""
    y, x = torch.meshgrid(*(torch.arange(size, device=device) + 0.5 for size in map_hw), indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1) * stride


def locations(image_hw: tuple[int, int], device: torch.device) -> Locations:
    """All locations of an input of ``image_hw`` pixels, padding included."""
    shapes = level_shapes(image_hw)
    points = [cell_centers(shape, stride, device) for shape, stride in zip(shapes, STRIDES, strict=True)]
    levels = [torch.full((len(part),), level, device=device) for level, part in enumerate(points)]
    level = torch.cat(levels)
    return Locations(torch.cat(points), FEATURE_STRIDE * 2.0**level, level)


def map_shape(image_hw: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width of maps of ``stride`` 16, 8, 4 or 2 resampled from those of P3 (see ``kp_net.resample``)."""
    height, width = level_shapes(image_hw)[0]
    if stride > FEATURE_STRIDE:
        return ceil_div(height, stride // FEATURE_STRIDE), ceil_div(width, stride // FEATURE_STRIDE)
    return height * (FEATURE_STRIDE // stride), width * (FEATURE_STRIDE // stride)


def cells_inside(input_hw: Tensor, map_hw: tuple[int, int], stride: int) -> Tensor:
    """bool [B, h, w]: cells that touch the input proper, not only its padding.

    Args:
        input_hw: i64 [B, 2], ``Meta.input_hw``.
    """
    rows, columns = (torch.arange(size, device=input_hw.device) * stride for size in map_hw)
    return (rows < input_hw[:, :1])[:, :, None] & (columns < input_hw[:, 1:])[:, None, :]
