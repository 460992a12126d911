"""Bicubic resampling by one factor per image, as two matrix products: exact at any factor, batched."""

from __future__ import annotations

import torch
from torch import Tensor


def resample(maps: Tensor, factor: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale images or maps about the corner (0, 0) of their continuous frame.

    Args:
        maps: f32 [B, C, h, w].
        factor: f32 [B], output pixels per input pixel. Below 1 the kernel widens (antialiasing).
        size: height and width of the output; it may show less or more than the scaled input. What lies beyond the
            input repeats its border.

    Returns:
        f32 [B, C, height, width].
    """
    rows = _matrix(size[0], maps.shape[2], factor)
    columns = _matrix(size[1], maps.shape[3], factor)
    return rows[:, None] @ (maps @ columns.transpose(1, 2)[:, None])


def _matrix(outputs: int, inputs: int, factor: Tensor) -> Tensor:
    """Weights [B, outputs, inputs] of Keys' kernel, rows summing to 1.

    The kernel's parameter is −0.75 where the input grows and −0.5 where it shrinks, as in ``F.interpolate`` without
    and with antialiasing.
    """
    device = factor.device
    factor = factor.view(-1, 1, 1)
    position = (torch.arange(outputs, device=device)[:, None] + 0.5) / factor - 0.5  # [B, outputs, 1]
    shrink = factor.clamp_max(1.0)
    parameter = torch.where(factor < 1, -0.5, -0.75)
    support = int((2 / shrink).amax().ceil())
    # The border repeats, so a kernel that lies beyond it altogether may as well lie just beyond it.
    position = position.clamp(-support, inputs - 1 + support)
    reach = 2 * support
    taps = torch.arange(-reach, inputs + reach, device=device)
    weight = _keys((position - taps) * shrink, parameter)
    matrix = weight[..., reach : reach + inputs].clone()
    matrix[..., 0] += weight[..., :reach].sum(-1)
    matrix[..., -1] += weight[..., reach + inputs :].sum(-1)
    return matrix / matrix.sum(-1, keepdim=True)


def _keys(distance: Tensor, a: Tensor) -> Tensor:
    """Keys' cubic convolution kernel."""
    t = distance.abs()
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))
