"""Layers in the forms that are fastest on a CPU where channels stay first; ``inference_form`` puts them in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LANES = 16
"""Output channels that a CPU's convolution computes at a time."""


class HalvingPool(nn.Module):
    """Maxima of 3×3 cells, two apart, of rows, then of columns: a sixth to an eighth of PyTorch's time on a CPU."""

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, ⌈H / 2⌉, ⌈W / 2⌉], as ``MaxPool2d(3, 2, 1)``."""
        return _maxima_of_three(_maxima_of_three(maps, 2), 3)


def is_halving(pool: nn.MaxPool2d) -> bool:
    """Whether it is ``MaxPool2d(3, 2, 1)``, the one behind a ResNet's first convolution."""
    given = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    sizes = [(size, size) if isinstance(size, int) else tuple(size) for size in given]
    return sizes == [(3, 3), (2, 2), (1, 1), (1, 1)] and not pool.ceil_mode and not pool.return_indices


def _maxima_of_three(maps: Tensor, dim: int) -> Tensor:
    length = maps.shape[dim]
    columns = maps.movedim(dim, -1)
    middle, after = (columns[..., first::2].movedim(-1, dim) for first in (0, 1))
    if length % 2:
        pooled = middle.clone(memory_format=torch.contiguous_format)
        inner = pooled.narrow(dim, 0, length // 2)
        torch.maximum(inner, after, out=inner)
    else:
        pooled = torch.maximum(middle, after)
    inner = pooled.narrow(dim, 1, pooled.shape[dim] - 1)
    torch.maximum(inner, after.narrow(dim, 0, pooled.shape[dim] - 1), out=inner)
    return pooled


class NarrowConvolution(nn.Module):
    """A convolution to few channels, such as to the heatmaps of 17 keypoints: one product, whose parts are added up.

    The product has as many rows for each output as the kernel has cells, so fewer of a CPU's lanes stay empty.

    Args:
        convolution: one that ``is_narrow``.
    """

    weight: Tensor
    bias: Tensor | None

    @torch.no_grad()
    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.size = convolution.kernel_size[0]
        per_cell = convolution.weight.flip(2, 3).permute(0, 2, 3, 1)  # a part goes to where its cell is looked at from
        self.register_buffer("weight", per_cell.flatten(0, 2).contiguous())
        bias = convolution.bias
        self.register_buffer("bias", None if bias is None else bias[:, None, None].clone())

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, K, H, W]."""
        parts = torch.bmm(self.weight.expand(len(maps), -1, -1), maps.flatten(2))
        total = F.fold(parts, maps.shape[2:], self.size, padding=self.size // 2)
        return total if self.bias is None else total.add_(self.bias)


def is_narrow(convolution: nn.Conv2d) -> bool:
    """Whether it keeps its input's size, and leaves more than a quarter of the lanes empty."""
    size = convolution.kernel_size[0]
    outputs = convolution.out_channels
    return (
        convolution.kernel_size == (size, size)
        and size in (3, 5)
        and convolution.padding == (size // 2, size // 2)
        and convolution.padding_mode == "zeros"
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.groups == 1
        and outputs < 0.75 * LANES * -(-outputs // LANES)
    )
