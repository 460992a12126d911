"""The feature shifting module as a trained network is asked on a CPU; ``inference_form`` puts it in."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class FixedTranslation:
    """``translation.translate`` of maps of one size by offsets that stay: what hangs on these is made once.

    A row of the result is taken from two rows of the memory, a cell apart, that may reach into their neighbours; cells
    that come from beyond the map have weight zero.

    Args:
        offsets: float [K, 2], as for ``translate``.
        height, width: of the maps.
    """

    def __init__(self, offsets: Tensor, height: int, width: int) -> None:
        count = len(offsets)
        whole = (-offsets).floor()
        across, self.down = (-offsets - whole)[:, :, None].unbind(1)
        x, y = whole.clamp(-max(height, width) - 1, max(height, width)).long()[:, :, None].unbind(1)
        rows = torch.arange(height + 1) + y
        columns = torch.arange(width + 1) + x.clamp(-width - 1, width)
        first = torch.arange(count)[:, None] * height + rows.clamp(0, height - 1)
        self.start = (first * width + columns[:, :1] + width + 1).flatten()
        is_row, is_column = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        is_inside = is_row[:, :, None] & is_column[:, None]
        across = across[..., None]
        self.of_left = ((1 - across) * is_inside[..., :-1]).flatten(1)
        self.of_right = (across * is_inside[..., 1:]).flatten(1)
        self.shape = count, height, width
        self.starts: dict[int, Tensor] = {}

    def room(self, images: int) -> Room:
        """Memory for the maps of so many images."""
        count, height, width = self.shape
        cells = images * count * height * width
        padded = self.of_left.new_empty(cells + 2 * width + 3)
        padded[: width + 1] = 0.0
        padded[width + 1 + cells :] = 0.0
        return Room(padded, padded[width + 1 : width + 1 + cells].view(images, count, -1))

    def __call__(self, room: Room, out: Tensor) -> None:
        """``out`` [B, K, H · W] from ``room.maps``."""
        count, height, width = self.shape
        if len(out) not in self.starts:
            first = torch.arange(len(out))[:, None] * (count * height * width)
            self.starts[len(out)] = (self.start + first).flatten()
        start, rows = self.starts[len(out)], room.padded.unfold(0, width, 1)
        left = torch.index_select(rows, 0, start).view(len(out), count, -1)
        right = torch.index_select(rows[1:], 0, start).view(len(out), count, -1)
        above = left.mul_(self.of_left).addcmul_(right, self.of_right)
        torch.lerp(above[..., :-width], above[..., width:], self.down, out=out)


class Room(NamedTuple):
    padded: Tensor
    """[cells]: ``maps`` and, before and after them, as many zeros as a row may reach beyond."""
    maps: Tensor
    """[B, K, H · W]: what is to be translated."""


class FoldedShift(nn.Module):
    """An inserted module in eval mode: Q = ReLU(aP + (a w^β)(F ⊙ S) + b), channels first.

    a and b, of each channel, are what the normalisation amounts to; w^β's bias is in b, and b is the weight of one more
    map, of ones. Of few operations, since threads of one process wait for each other between them.

    Args:
        module: a ``FeatureShiftModule``.
    """

    reduce: Tensor
    reduce_bias: Tensor
    project: Tensor
    project_bias: Tensor
    scale: Tensor
    expand: Tensor

    @torch.no_grad()
    def __init__(self, module: Any) -> None:
        super().__init__()
        norm = module.norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias + (module.expand.bias - norm.running_mean) * scale
        self.offsets = None if isinstance(module.shift, nn.Identity) else module.shift.offsets.detach().clone()
        self.share: nn.Module | None = None if module.attention is None else module.attention.share
        self._register_convolution("reduce", module.reduce)
        if module.attention is not None:
            self._register_convolution("project", module.attention.project)
        self.register_buffer("scale", scale[:, None])
        self.register_buffer("expand", torch.cat([module.expand.weight.flatten(1) * scale[:, None], bias[:, None]], 1))
        self.translations: dict[tuple[int, int], FixedTranslation] = {}

    @torch.no_grad()
    def forward(self, maps: Tensor) -> Tensor:
        """P [B, C, H, W] -> Q of the same shape."""
        images = maps.to(self.scale.dtype).flatten(2)
        height, width = maps.shape[2:]
        moved_and_ones = images.new_empty(len(images), self.expand.shape[1], height * width)
        moved_and_ones[:, -1] = 1.0
        moved = moved_and_ones[:, :-1]
        if self.offsets is None:
            _product(self.reduce, images, self.reduce_bias, out=moved)
        else:
            translation = self._translation(self.offsets, height, width)
            room = translation.room(len(images))
            _product(self.reduce, images, self.reduce_bias, out=room.maps)
            translation(room, moved)
        if self.share is not None:
            logits = images.new_empty(moved.shape)
            _product(self.project, images, self.project_bias, out=logits)
            moved.mul_(self.share(logits.unflatten(2, (height, width))).flatten(2))
        total = images * self.scale
        total.baddbmm_(self.expand.expand(len(images), -1, -1), moved_and_ones).relu_()
        return total.view(maps.shape)

    def _register_convolution(self, name: str, convolution: nn.Conv2d) -> None:
        """Weight [outputs, inputs] and bias [outputs, 1] of a 1×1 convolution."""
        assert convolution.bias is not None
        self.register_buffer(name, convolution.weight.flatten(1).clone())
        self.register_buffer(f"{name}_bias", convolution.bias[:, None].clone())

    def _translation(self, offsets: Tensor, height: int, width: int) -> FixedTranslation:
        if (height, width) not in self.translations:
            self.translations[height, width] = FixedTranslation(offsets, height, width)
        return self.translations[height, width]


def _product(weight: Tensor, maps: Tensor, bias: Tensor, out: Tensor) -> None:
    """``out`` [B, K, H · W] of ``maps`` [B, C, H · W], a weight [K, C] and a bias [K, 1]."""
    torch.baddbmm(bias, weight.expand(len(maps), -1, -1), maps, out=out)
