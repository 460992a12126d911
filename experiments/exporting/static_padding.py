"""timm's TensorFlow networks pad by the size of what they see; of known multiples it is a constant."""

from __future__ import annotations

from copy import deepcopy

from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional


class PaddedConv2d(nn.Module):
    """A ``Conv2dSame`` for maps whose height and width are multiples of its stride."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        down, across = (
            max((kernel - 1) * dilation + 1 - stride, 0)
            for kernel, dilation, stride in zip(conv.kernel_size, conv.dilation, conv.stride, strict=True)
        )
        self.padding = (across // 2, across - across // 2, down // 2, down - down // 2)

    def forward(self, maps: Tensor) -> Tensor:
        conv = self.conv
        padded = functional.pad(maps, self.padding)
        return functional.conv2d(padded, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)


def with_static_padding(module: nn.Module) -> nn.Module:
    """A copy of ``module`` whose paddings are constants, or ``module`` itself where they are.

    Sizes of the input are multiples of every stride. With a dynamic size each padding is otherwise an expression of
    it, and a graph of many takes minutes to be followed.
    """
    if not any(isinstance(part, Conv2dSame) for part in module.modules()):
        return module
    module = deepcopy(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Conv2dSame):
                setattr(parent, name, PaddedConv2d(child))
    return module
