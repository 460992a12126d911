"""From heatmaps to points: averaging with the mirror image, and three ways to the peak.

Points are heatmap *indices*: u is a place between cells, and cell i has its centre at u = i. In continuous
coordinates that is u + 0.5 cells; each paper's ``targets.py`` says which place of the input an index stands for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST = 1e-10
"""Heatmap values are at least this before their logarithm is taken."""


def average_flipped(heatmap: Tensor, mirrored: Tensor, flip_permutation: Tensor, shift: int = 0) -> Tensor:
    """Mean of an image's heatmaps and those of its mirror image, turned back.

    Args:
        heatmap: f32 [B, K, h, w].
        mirrored: f32 [B, K, h, w], of the mirror image.
        flip_permutation: i64 [K], see ``Skeleton``.
        shift: cells by which what was turned back moves right: 0 where index u stands for the input coordinate
            (u + 0.5) · stride, so that mirroring maps index to index; 1 where it stands for u · stride.
    """
    back = mirrored.flip(-1)[:, flip_permutation]
    if shift:
        back = torch.cat([back[..., :shift], back[..., :-shift]], dim=-1)
    return (heatmap + back) / 2


def argmax_peaks(heatmap: Tensor) -> tuple[Tensor, Tensor]:
    """The highest cell, the first of equals: points f32 [B, K, 2] (x, y; indices) and values [B, K] of [B, K, h, w]."""
    score, cell = heatmap.flatten(2).max(dim=2)
    row = cell // heatmap.shape[-1]
    column = cell - row * heatmap.shape[-1]  # a remainder by a size that is not known yet has no form in ONNX
    return torch.stack([column, row], dim=-1).to(torch.float32), score


def quarter_peaks(heatmap: Tensor) -> tuple[Tensor, Tensor]:
    """As ``argmax_peaks``, then a quarter of a cell along each axis towards the higher of the two neighbours.

    Between equal ones, and along an axis where one is missing, the point stays.
    """
    points, score = argmax_peaks(heatmap)
    around = _around(heatmap, points, 1)
    slope = torch.stack([around[..., 1, 2] - around[..., 1, 0], around[..., 2, 1] - around[..., 0, 1]], dim=-1)
    return points + 0.25 * slope.sign().nan_to_num(), score


def dark_peaks(heatmap: Tensor, sigma: float = 2.0, kernel: int | None = None) -> tuple[Tensor, Tensor]:
    """As ``argmax_peaks``, then one Newton step on the logarithm of the smoothed heatmap (DARK, Eq. 4 to 9).

    As in DARK's public code the step may be longer than a cell. The point stays where a cell within two of it is
    missing and where the Hessian is singular.

    Args:
        heatmap: [B, K, h, w].
        sigma: of the targets' Gaussian, cells.
        kernel: cells of the blur, odd; None is that of DARK's public configurations, 3 up to σ = 1, else 11.
    """
    points, score = argmax_peaks(heatmap)
    kernel = (3 if sigma <= 1 else 11) if kernel is None else kernel
    around = _around(blur(heatmap.float(), kernel).clamp_min(_SMALLEST).log(), points, 2)
    center = around[..., 2, 2]
    dx = (around[..., 2, 3] - around[..., 2, 1]) / 2
    dy = (around[..., 3, 2] - around[..., 1, 2]) / 2
    dxx = (around[..., 2, 4] - 2 * center + around[..., 2, 0]) / 4
    dyy = (around[..., 4, 2] - 2 * center + around[..., 0, 2]) / 4
    dxy = (around[..., 3, 3] - around[..., 1, 3] - around[..., 3, 1] + around[..., 1, 1]) / 4
    determinant = dxx * dyy - dxy.square()
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=-1) / determinant[..., None]
    has_step = step.isfinite().all(dim=-1)  # False where a neighbour is NaN
    return points + torch.where(has_step[..., None], step, 0.0), score


def _around(heatmap: Tensor, points: Tensor, reach: int) -> Tensor:
    """f32 [B, K, 2 reach + 1, 2 reach + 1]: cells around ``points`` [B, K, 2], rows first; NaN outside the map."""
    height, width = heatmap.shape[-2:]
    steps = torch.arange(-reach, reach + 1, device=heatmap.device)
    x, y = points.long()[..., None].unbind(2)
    x, y = (x + steps)[..., None, :], (y + steps)[..., None]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    values = heatmap.float().flatten(2).gather(2, index.flatten(2)).view(index.shape)
    return values.masked_fill(~inside, math.nan)


def blur(heatmap: Tensor, kernel: int) -> Tensor:
    """Gaussian blur of [B, K, h, w] over ``kernel`` cells, zeros outside, each map rescaled to the maximum it had.

    The Gaussian's width is the one OpenCV derives from a kernel's length, and 3 cells are ¼ ½ ¼, as there.
    """
    reach = kernel // 2
    sigma = 0.3 * (reach - 1) + 0.8
    bell = torch.exp(-torch.arange(-reach, reach + 1, device=heatmap.device).square() / (2 * sigma**2))
    bell = heatmap.new_tensor([0.25, 0.5, 0.25]) if kernel == 3 else bell / bell.sum()
    maps = heatmap.flatten(0, 1)[:, None]
    maps = F.conv2d(maps, bell.view(1, 1, -1, 1), padding=(reach, 0))
    smooth = F.conv2d(maps, bell.view(1, 1, 1, -1), padding=(0, reach))[:, 0].view_as(heatmap)
    return smooth * (heatmap.amax((-2, -1), keepdim=True) / smooth.amax((-2, -1), keepdim=True))
