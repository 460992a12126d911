"""``data.warp=device``: the photographs of a batch in one buffer, and how the device makes its images of them.

Photographs differ in size; padded to the largest they would weigh up to twice what they do, so they travel one after
the other. Where inputs show most of them they are decoded where they will lie, and none is copied. Their maps are those
of the worker (``geometry.source_of``), and the images agree with the worker's up to rounding.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.contracts import PoseBatch
from datamodules.geometry import Source
from datamodules.host_memory import empty_for_trainer
from datamodules.parcel import BOOL, F32, I64, U8, Plan

_AT_ONCE = 1 << 22
"""Pixels of a batch that are sampled together: bounds the memory beside the images to half a gigabyte."""
_DECODED_IN_PLACE = 1 << 20
"""Pixels of the largest photograph that is handed over whole; COCO's have up to 0.41 million."""


class Photographs(NamedTuple):
    """What the images of a batch are sampled from."""

    pixels: Tensor
    """u8 [N, 3], RGB: all photographs, row by row, one after the other."""
    first: Tensor
    """i64 [B], where in ``pixels`` each begins."""
    stride: Tensor
    """i64 [B], pixels from one of its rows to the next."""
    hw: Tensor
    """i64 [B, 2], height and width of each, at least 1."""
    to_pixels: Tensor
    """f32 [B, 2, 3], from the input to the photograph, continuous coordinates."""
    is_frame: Tensor
    """bool [B], where the photograph fills its input to the border; see ``Source``."""
    padded_hw: tuple[int, int]
    """H, W of the images."""


class UnwarpedBatch(NamedTuple):
    """A batch on its way to the device; ``warp_batch`` makes a ``PoseBatch`` of it."""

    photographs: Photographs
    batch: PoseBatch
    """All but the images, which are u8 [B, 3, 0, 0]."""


def memory_for(sizes: NDArray[np.int64]) -> tuple[Tensor | None, list[NDArray[np.uint8] | None]]:
    """Memory u8 [N, 3] for photographs of ``sizes`` i64 [B, 2], and the place [H, W, 3] of each in it.

    None where one is so large that the part an input shows had better be copied.
    """
    areas = (sizes[:, 0] * sizes[:, 1]).tolist()
    if max(areas) > _DECODED_IN_PLACE:
        return None, [None] * len(areas)
    memory = empty_for_trainer((sum(areas), 3), torch.uint8)
    starts = accumulate(areas, initial=0)
    pixels = memory.numpy()
    return memory, [
        pixels[start : start + height * width].reshape(height, width, 3)
        for start, (height, width) in zip(starts, sizes.tolist(), strict=False)
    ]


def put(source: Source, image: NDArray[np.uint8], place: NDArray[np.uint8] | None) -> tuple[Source, bool]:
    """``source`` of ``image`` with its pixels in ``place``, and whether they are there."""
    pixels = source.pixels
    if place is None or pixels.size > place.size:
        is_part = 2 * pixels.size < image.size  # the rest of the photograph need not be kept
        return (source._replace(pixels=pixels.copy()) if is_part else source), False
    if not np.may_share_memory(pixels, place):
        inside = place.reshape(-1)[: pixels.size].reshape(pixels.shape)
        inside[:] = pixels
        source = source._replace(pixels=inside)
    return source, True


def room_for(plan: Plan, sources: list[Source], padded_hw: tuple[int, int], memory: Tensor | None = None) -> Any:
    """``Photographs`` of ``Room``s for ``sources``, of which images of ``padded_hw`` pixels will be made; their pixels
    are ``memory`` if they lie in it.
    """
    room, count = plan.room, len(sources)
    return Photographs(
        pixels=room(U8, sum(source.pixels.size // 3 for source in sources), 3) if memory is None else memory,
        first=room(I64, count),
        stride=room(I64, count),
        hw=room(I64, count, 2),
        to_pixels=room(F32, count, 2, 3),
        is_frame=room(BOOL, count),
        padded_hw=padded_hw,
    )


def pack(sources: list[Source], photographs: Any) -> None:
    """Fill the arrays of ``photographs`` with ``sources``, whose pixels are copied if they do not lie there."""
    if isinstance(photographs.pixels, Tensor):
        begin = photographs.pixels.data_ptr()
        photographs.first[:] = [(source.pixels.ctypes.data - begin) // 3 for source in sources]
        photographs.stride[:] = [source.pixels.strides[0] // 3 for source in sources]
    else:
        start = 0
        for number, source in enumerate(sources):
            end = start + source.pixels.size // 3
            photographs.pixels[start:end].reshape(source.pixels.shape)[:] = source.pixels
            photographs.first[number] = start
            photographs.stride[number] = source.pixels.shape[1]
            start = end
    photographs.hw[:] = [source.pixels.shape[:2] for source in sources]
    photographs.to_pixels[:] = [source.to_pixels for source in sources]
    photographs.is_frame[:] = [source.is_frame for source in sources]


def warp_batch(unwarped: UnwarpedBatch, fill: Tensor) -> PoseBatch:
    """The batch with its images, u8 [B, 3, H, W], on the device that it lies on.

    Args:
        fill: f32 [3], RGB of what lies outside the photographs; padding beyond ``meta.input_hw`` is 0.
    """
    photographs, batch = unwarped
    height, width = photographs.padded_hw
    count = max(1, _AT_ONCE // (height * width))
    starts = range(0, len(photographs.hw), count)
    parts = [sample(photographs, slice(start, start + count), fill) for start in starts]
    images = torch.cat(parts).permute(0, 3, 1, 2).contiguous()
    return batch._replace(images=images.masked_fill_(~is_inside(batch.meta.input_hw, height, width), 0))


def sample(photographs: Photographs, part: slice, fill: Tensor) -> Tensor:
    """The images ``part`` of a batch, u8 [b, H, W, 3]: bilinear at the centres of their pixels, rounded.

    Beyond a photograph lies ``fill``, into which its outermost half pixels fade; beyond one that is a frame, its
    border goes on.
    """
    device = photographs.pixels.device
    first, stride = photographs.first[part, None, None], photographs.stride[part, None, None]
    matrix = photographs.to_pixels[part, :, :, None, None]
    sides = photographs.hw[part, :, None, None]
    y, x = (torch.arange(side, device=device) + 0.5 for side in photographs.padded_hw)
    is_frame = photographs.is_frame[part, None, None]
    corners, fractions = [], []
    for axis, length in ((0, sides[:, 1]), (1, sides[:, 0])):
        index = matrix[:, axis, 0] * x + matrix[:, axis, 1] * y[:, None] + matrix[:, axis, 2] - 0.5
        edge = (~is_frame).to(index.dtype)  # a pixel further out all is fill
        index = index.maximum(-edge).minimum(length - 1 + edge)
        corners.append(index.floor())
        fractions.append(index - corners[-1])
    (column, row), (right, down) = ([value.long() for value in corners], fractions)
    mixed = torch.zeros(*column.shape, 3, device=device)
    shown = torch.zeros_like(right)
    for below, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        i, j = row + below, column + across
        is_pixel = (i >= 0) & (i < sides[:, 0]) & (j >= 0) & (j < sides[:, 1])
        weight = (down if below else 1 - down) * (right if across else 1 - right) * is_pixel
        at = torch.where(is_pixel, first + i * stride + j, first)  # outside any will do, at no weight
        mixed += photographs.pixels[at] * weight[..., None]
        shown += weight
    mixed += (1 - shown)[..., None] * fill
    return mixed.round_().clamp_(0, 255).to(torch.uint8)


def is_inside(input_hw: Tensor, height: int, width: int) -> Tensor:
    """Where images of ``height`` × ``width`` are no padding: bool [B, 1, height, width]; ``input_hw`` i64 [B, 2]."""
    rows = torch.arange(height, device=input_hw.device) < input_hw[:, :1]
    columns = torch.arange(width, device=input_hw.device) < input_hw[:, 1:]
    return (rows[:, :, None] & columns[:, None, :])[:, None]
