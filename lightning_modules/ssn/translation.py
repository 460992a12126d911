"""Differentiable translation of every channel by its own fractional offset (Eq. 1), zeros moving in.

Forward, a channel is cut out of its plane one integer step away, one cell larger than itself, by copying rows: in the
flat memory of rows with zeros between them, a row moved by an integer is a row that starts elsewhere. Two linear
interpolations follow. Backward is the same operation by the opposite offset, so nothing is scattered and results do
not depend on the order of threads; what the offsets need are four dot products per channel. Only the input is kept.

On a CPU a few channels at a time go through all of it, so that what lies between stays in the cores' caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CELLS_IN_CACHE = 100_000
"""Of maps that a CPU's core moves at a time, 0.4 MB in fp32: fewer cost more in calls than they save in memory."""


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
        whole, fraction = _split(-offsets, len(maps))
        planes = maps.flatten(0, 1)
        moved = planes.new_empty(planes.shape)
        for part, corners in _cut(planes, whole):
            _interpolate(corners, fraction[part], moved[part])
        return moved.view(maps.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        maps, offsets = ctx.saved_tensors
        whole, fraction = _split(offsets, len(maps))  # the adjoint of a translation is the opposite one
        planes, others = gradient.flatten(0, 1), maps.flatten(0, 1)
        moved = planes.new_empty(planes.shape)
        exact = torch.promote_types(maps.dtype, torch.float32)
        dots = planes.new_zeros(len(planes), 2, 2, dtype=exact) if ctx.needs_input_grad[1] else None
        for part, corners in _cut(planes, whole):
            _interpolate(corners, fraction[part], moved[part])
            if dots is not None:
                _dot(others[part], corners, dots[part])
        by_offset = None if dots is None else _offset_gradient(dots.view(*maps.shape[:2], 2, 2), offsets)
        return moved.view(maps.shape), by_offset


def _split(offsets: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """[K, 2] -> integer (i64) and fractional (in [0, 1)) parts [B · K, 2]."""
    whole = offsets.floor()
    return whole.long().repeat(batch, 1), (offsets - whole).repeat(batch, 1)


def _cut(planes: Tensor, whole: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Parts of the planes [N, H, W], and each part's [n, H + 1, W + 1], overwritten by the next part's.

    Its cell (i, j) of plane p is ``planes[p, i + whole[p, 1], j + whole[p, 0]]``, or zero.
    """
    count, height, width = planes.shape
    size = max(1, count)
    if planes.device.type == "cpu" and not torch.compiler.is_compiling():  # a compiler makes its own parts
        size = min(size, max(1, int(_CELLS_IN_CACHE * torch.get_num_threads()) // (height * width)))
    padded = planes.new_zeros(size * height + 1, 2 * width + 1)  # more zeros than a row has cells; the last row is zero
    place, windows = padded[:-1, width + 1 :].view(size, height, width), padded.flatten().unfold(0, width + 1, 1)
    rows = torch.arange(height + 1, device=planes.device) + whole[:, 1:]
    line = torch.arange(count, device=planes.device)[:, None] % size * height + rows
    start = line * (2 * width + 1) + width + 1 + whole[:, :1].clamp(-width - 1, width)
    start = torch.where((rows >= 0) & (rows < height), start, windows.shape[0] - width - 1)
    corners = planes.new_empty(size * (height + 1), width + 1)
    for first in range(0, count, size):
        part = slice(first, min(first + size, count))
        length = part.stop - first
        place[:length] = planes[part]
        cut = corners[: length * (height + 1)]
        torch.index_select(windows, 0, start[part].flatten(), out=cut)
        yield part, cut.view(length, height + 1, width + 1)


def _interpolate(corners: Tensor, fraction: Tensor, out: Tensor) -> None:
    """[n, H + 1, W + 1] -> [n, H, W], ``fraction`` of the way to the right and lower neighbours.

    In fp32 at least: in bf16 a position would be rounded to 1/256 of a cell, which is more than an offset's step.
    """
    exact = torch.promote_types(corners.dtype, torch.float32)
    corners, fraction = corners.to(exact), fraction.to(exact)
    across, down = fraction[:, :, None, None].unbind(1)
    rows = torch.lerp(corners[..., :-1], corners[..., 1:], across)
    if out.dtype is exact:
        torch.lerp(rows[:, :-1], rows[:, 1:], down, out=out)
    else:
        out.copy_(torch.lerp(rows[:, :-1], rows[:, 1:], down))


def _dot(planes: Tensor, corners: Tensor, out: Tensor) -> None:
    """Dot products [n, 2, 2] of planes [n, H, W] with upper and lower, left and right corners.

    They are nearly equal and will be subtracted from each other: fp32 at least.
    """
    planes, corners = planes.to(out.dtype), corners.to(out.dtype)
    for down, rows in enumerate((corners[:, :-1], corners[:, 1:])):
        for right, neighbours in enumerate((rows[..., :-1], rows[..., 1:])):
            out[:, down, right] = (planes * neighbours).sum((1, 2))


def _offset_gradient(dots: Tensor, offsets: Tensor) -> Tensor:
    """[K, 2]: derivative of Σ maps · interpolate(corners, fraction) in ``fraction``, of dot products [B, K, 2, 2]."""
    dots = dots.sum(0)
    across, down = (offsets - offsets.floor()).to(dots.dtype).unbind(1)
    along_x = torch.lerp(dots[:, 0, 1] - dots[:, 0, 0], dots[:, 1, 1] - dots[:, 1, 0], down)
    along_y = torch.lerp(dots[:, 1, 0] - dots[:, 0, 0], dots[:, 1, 1] - dots[:, 0, 1], across)
    return torch.stack((along_x, along_y), 1).to(offsets.dtype)
