"""Gaussian heatmap targets, drawn for all people at once on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import threshold


def gaussian_radius(width: Tensor, height: Tensor, min_overlap: float) -> Tensor:
    """How far both corners of a box may move before its IoU with itself falls below ``min_overlap``.

    CornerNet's released form: of the three quadratics' roots the smallest, each divided by 2 instead of by 2a.

    Args:
        width, height: f32, any shape, in cells of the map.

    Returns:
        f32 of the same shape, cells.
    """
    total, area = width + height, width * height
    roots = []
    for a, b, c in (
        (1.0, total, area * (1 - min_overlap) / (1 + min_overlap)),
        (4.0, 2 * total, area * (1 - min_overlap)),
        (4 * min_overlap, -2 * min_overlap * total, -area * (1 - min_overlap)),
    ):
        roots.append((b + (b * b - 4 * a * c).clamp(min=0).sqrt()) / 2)
    return torch.stack(roots).amin(dim=0)


def bell(distance: Tensor, sigma: float) -> Tensor:
    """exp(−d²/2σ²), one axis of a separable Gaussian: of two the product is a heatmap.

    Values under 1e-18 are 0, so that the product is never subnormal: a processor takes many times as long over those.
    """
    return threshold((distance.square() * (-0.5 / sigma**2)).exp(), 1e-18, 0.0)


def reaches_map(centers: Tensor, sigma: float, map_hw: tuple[int, int]) -> Tensor:
    """Whether a Gaussian that ends at 3σ along each axis covers a cell of the map: bool [...].

    Args:
        centers: f32 or i64 [..., 2], x and y as indices of cells, inside the map or not.
        sigma: cells.
        map_hw: height and width of the map, cells.
    """
    height, width = map_hw
    reach = 3 * sigma
    x, y = centers.unbind(dim=-1)
    return (x >= -reach) & (x <= width - 1 + reach) & (y >= -reach) & (y <= height - 1 + reach)


def window_cells(centers: Tensor, reach: int, map_hw: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """The cells around each centre, as a square window of side ``2 reach + 1``.

    Args:
        centers: i64 [..., 2], cell x and y.
        map_hw: height and width of the map, cells.

    Returns:
        With S = (2 reach + 1)²: x and y offsets from the centre, i64 [S, 2]; row-major cell indices, clamped into the
        map, i64 [..., S]; which of them lay inside, bool [..., S].
    """
    steps = torch.arange(-reach, reach + 1, device=centers.device)
    offsets = torch.stack([steps.repeat(len(steps)), steps.repeat_interleave(len(steps))], dim=-1)
    cells = centers.unsqueeze(-2) + offsets
    height, width = map_hw
    x, y = cells.unbind(dim=-1)
    is_inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    index = x.clamp(0, width - 1) + width * y.clamp(0, height - 1)
    return offsets, index, is_inside


def draw_gaussians(
    centers: Tensor, radii: Tensor, is_drawn: Tensor, map_hw: tuple[int, int], max_radius: int
) -> Tensor:
    """Heatmaps with a truncated Gaussian at each centre; where several meet, the larger value stands.

    The Gaussian has sigma = (2 radius + 1) / 6 and ends at ``radius`` cells along each axis (CornerNet).
    Only windows of side ``2 max_radius + 1`` are evaluated, so the cost does not grow with the map.

    Args:
        centers: i64 [B, P, K, 2], cell x and y.
        radii: f32 [B, P] or [B, P, K], whole numbers in [0, max_radius].
        is_drawn: bool [B, P, K].
        map_hw: height and width of the map, cells.

    Returns:
        f32 [B, K, h, w] in [0, 1], exactly 1 at drawn centres inside the map. Nobody to draw: zeros.
    """
    batch, persons, keypoints = is_drawn.shape
    height, width = map_hw
    offsets, index, is_inside = window_cells(centers, max_radius, map_hw)
    radii = (radii if radii.dim() == 3 else radii.unsqueeze(-1)).unsqueeze(-1)
    distance = offsets.to(torch.float32)
    exponent = -(distance**2).sum(dim=-1) / (2 * ((2 * radii + 1) / 6) ** 2)
    shown = is_inside & is_drawn.unsqueeze(-1) & (distance.abs().amax(dim=-1) <= radii)
    values = torch.where(shown, exponent.exp(), 0.0)
    heatmaps = torch.zeros(batch, keypoints, height * width, device=centers.device)
    flatten = (batch, keypoints, persons * offsets.shape[0])
    heatmaps.scatter_reduce_(
        2, index.transpose(1, 2).reshape(flatten), values.transpose(1, 2).reshape(flatten), reduce="amax"
    )
    return heatmaps.view(batch, keypoints, height, width)
