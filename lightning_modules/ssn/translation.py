"""Differentiable translation of every channel by its own fractional offset (Eq. 1), zeros moving in.

Forward, a channel is cut out of its plane one integer step away, one cell larger than itself, by copying rows: in the
flat memory of all maps, a row moved by an integer is a row that starts elsewhere. Two linear interpolations follow.
Backward is the same operation by the opposite offset, so nothing is scattered and results do not depend on the order
of threads; what the offsets need are four dot products per channel. Only the input is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight


def translate(maps: Tensor, offsets: Tensor) -> Tensor:
    """S_k(x, y) = R*_k(x − Δx_k, y − Δy_k) of Eq. 1, with R* the bilinear interpolation of R in a plane of zeros.

    Args:
        maps: R, float [B, K, H, W].
        offsets: f32 [K, 2], Δx and Δy in pixels of the map, any finite value; positive moves right and down.

    Returns:
        S, as ``maps``. Differentiable once in both; at integer offsets, the derivative towards lower ones.
    """
    return _Translation.apply(maps, offsets)


class _Translation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(maps, offsets)
        whole, fraction = _split(-offsets)
        return _interpolate(_cut(maps, whole), fraction)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        maps, offsets = ctx.saved_tensors
        whole, fraction = _split(offsets)  # the adjoint of a translation is the opposite one
        corners = _cut(gradient, whole)
        wanted = ctx.needs_input_grad[1]
        return _interpolate(corners, fraction), _offset_gradient(maps, corners, fraction) if wanted else None


def _split(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Integer (i64) and fractional (f32, in [0, 1)) parts."""
    whole = offsets.floor()
    return whole.long(), offsets - whole


def _cut(maps: Tensor, whole: Tensor) -> Tensor:
    """[B, K, H + 1, W + 1]: cell (i, j) of channel k is ``maps[:, k, i + whole[k, 1], j + whole[k, 0]]``, or zero."""
    batch, channels, height, width = maps.shape
    column, row = whole[:, :1], whole[:, 1:]
    rows = torch.arange(height + 1, device=maps.device) + row
    columns = torch.arange(width + 1, device=maps.device) + column
    margin = maps.new_zeros(width + 1)
    flat = torch.cat((margin, maps.reshape(-1), margin))
    plane = torch.arange(batch * channels, device=maps.device).view(batch, channels, 1)
    start = (plane * height + rows) * width + column.clamp(-width - 1, width) + width + 1
    start = torch.where((rows >= 0) & (rows < height), start, 0)  # the margin is a row of zeros
    windows = flat.as_strided((flat.numel() - width, width + 1), (1, 1))
    cut = windows.index_select(0, start.flatten()).view(batch, channels, height + 1, width + 1)
    inside = (columns >= 0) & (columns < width)  # a row that starts elsewhere runs into its neighbours
    return cut.mul_(inside.to(maps.dtype)[:, None])


def _interpolate(corners: Tensor, fraction: Tensor) -> Tensor:
    """[B, K, H + 1, W + 1] -> [B, K, H, W], ``fraction`` of the way to the right and lower neighbours."""
    across, down = fraction.to(corners.dtype)[:, :, None, None].unbind(1)
    between = torch.lerp(corners[..., :-1, :], corners[..., 1:, :], down)
    return torch.lerp(between[..., :-1], between[..., 1:], across)


def _offset_gradient(maps: Tensor, corners: Tensor, fraction: Tensor) -> Tensor:
    """[K, 2]: derivative of Σ maps · interpolate(corners, fraction) in ``fraction``.

    The dot products of the maps with the four corners are the weight gradient of a 2×2 depthwise convolution. They
    are nearly equal and subtracted from each other: fp32 at least.
    """
    channels = maps.shape[1]
    accumulate = torch.promote_types(maps.dtype, torch.float32)
    dots = conv2d_weight(corners.to(accumulate), (channels, 1, 2, 2), maps.to(accumulate), groups=channels)[:, 0]
    across, down = fraction.unbind(1)
    along_x = torch.lerp(dots[:, 0, 1] - dots[:, 0, 0], dots[:, 1, 1] - dots[:, 1, 0], down.to(accumulate))
    along_y = torch.lerp(dots[:, 1, 0] - dots[:, 0, 0], dots[:, 1, 1] - dots[:, 0, 1], across.to(accumulate))
    return torch.stack((along_x, along_y), 1).to(fraction.dtype)
