"""Dynamic KP-Nets (Section 3.2): one tiny network per person, all of them evaluated in a few batched products."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.inspose.locations import FEATURE_STRIDE, cell_centers
from lightning_modules.shared.precision import full_precision


class KPNetShape(NamedTuple):
    """The layers every KP-Net has: 1×1 convolutions, a ReLU after each but the last."""

    channels: int
    """Of the shared features and of the hidden layers."""
    depth: int
    num_keypoints: int

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Input and output channels of each layer; the first also reads two relative coordinates."""
        widths = [self.channels + 2, *[self.channels] * (self.depth - 1), self.num_keypoints]
        return list(pairwise(widths))

    @property
    def num_parameters(self) -> int:
        """C_f: 187, 241, 313, 385 for depth 1 to 4 with 8 channels and 17 keypoints."""
        return sum(inputs * outputs + outputs for inputs, outputs in self.layers)


_CELLS_IN_CACHE = 1 << 14
"""Of hidden maps that a CPU's core takes through all layers at a time, 0.6 MB of nine channels in fp32."""


def split_parameters(parameters: Tensor, shape: KPNetShape) -> list[tuple[Tensor, Tensor]]:
    """``[B, N, C_f]`` -> per layer the weight ``[B, N, out, in]`` and the bias ``[B, N, out]``.

    The flat order is w1 b1 w2 b2 …; the first weight's inputs are the features, then x and y.
    """
    sizes = [size for inputs, outputs in shape.layers for size in (inputs * outputs, outputs)]
    parts = parameters.split(sizes, dim=-1)
    return [
        (weight.unflatten(-1, (outputs, inputs)), bias)
        for weight, bias, (inputs, outputs) in zip(parts[::2], parts[1::2], shape.layers, strict=True)
    ]


def apply_kp_nets(
    features_s8: Tensor, parameters: Tensor, locations: Tensor, scales: Tensor, shape: KPNetShape
) -> Tensor:
    """Keypoint maps of N instances per image, in float32 also under autocast.

    The relative coordinates ``(cell centre - location) / scale`` are never built: the first layer is linear in them,
    so the cell's part is one product shared by all instances and the location's part goes into the bias. Biases are
    a matrix's last column, and the maps' last channel is 1. On a CPU, without a backward pass to come, a few instances
    at a time go through all layers.

    Args:
        features_s8: [B, C, h, w], F_kp of stride 8.
        parameters: [B, N, C_f].
        locations: f32 [B, N, 2], x and y in input pixels, where the parameters were generated.
        scales: f32 [B, N], input pixels.
        shape: the layers.

    Returns:
        Logits f32 [B, N, K, h, w].
    """
    batch, instances = parameters.shape[:2]
    height, width = features_s8.shape[-2:]
    with full_precision(features_s8.device):
        layers = split_parameters(parameters.float(), shape)
        weight, bias = layers[0]
        by_feature, by_offset = weight.split([shape.channels, 2], dim=-1)
        by_offset = by_offset / scales[..., None, None]
        bias = bias - (by_offset * locations.unsqueeze(-2)).sum(dim=-1)
        cells = cell_centers((height, width), FEATURE_STRIDE, features_s8.device).T.expand(batch, -1, -1)
        inputs = torch.cat([features_s8.float().flatten(2), cells, torch.ones_like(cells[:, :1])], dim=1)
        layers[0] = torch.cat([by_feature, by_offset], dim=-1), bias
        matrices = [_with_bias(*layer, hands_on=depth < shape.depth) for depth, layer in enumerate(layers, start=1)]
        in_parts = _keeps_nothing(inputs, *matrices)
        maps = _products_in_parts(matrices, inputs) if in_parts else _products(matrices, inputs)
    return maps.view(batch, instances, shape.num_keypoints, height, width)


def _products(matrices: list[Tensor], inputs: Tensor, out: Tensor | None = None) -> Tensor:
    """All layers' matrices [B, N, ·, ·] on inputs [B, C + 3, P], ReLU between: B · N · K · P values, into ``out``."""
    batch, instances, _, _ = matrices[0].shape
    wide = matrices[0].flatten(1, 2)
    if len(matrices) == 1:
        return torch.bmm(wide, inputs, out=None if out is None else out.flatten(1, 2))
    maps = torch.bmm(wide, inputs).view(batch * instances, -1, inputs.shape[2])
    *hidden, last = (matrix.flatten(0, 1) for matrix in matrices[1:])
    for matrix in hidden:
        maps = torch.bmm(matrix, maps.relu_())
    return torch.bmm(last, maps.relu_(), out=None if out is None else out.flatten(0, 1))


def _keeps_nothing(*tensors: Tensor) -> bool:
    """On a CPU, no backward pass to come, and no compiler that sees to the cache itself."""
    learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return tensors[0].device.type == "cpu" and not learns and not torch.compiler.is_compiling()


def _products_in_parts(matrices: list[Tensor], inputs: Tensor) -> Tensor:
    """The same, a few instances at a time through all layers, so that hidden maps stay in the cores' caches."""
    batch, instances, _, _ = matrices[0].shape
    out = inputs.new_empty(batch, instances, matrices[-1].shape[2], inputs.shape[2])
    size = max(1, _CELLS_IN_CACHE // inputs.shape[2]) * torch.get_num_threads()
    for image in range(batch):
        for first in range(0, instances, size):
            part = slice(image, image + 1), slice(first, first + size)
            _products([matrix[part] for matrix in matrices], inputs[part[0]], out[part])
    return out


def _with_bias(weight: Tensor, bias: Tensor, *, hands_on: bool) -> Tensor:
    """``[..., out, in]`` and ``[..., out]`` as one matrix ``[..., out, in + 1]`` for maps whose last channel is 1.

    With ``hands_on`` a row more makes that channel again. A bias that is added to whole maps costs as much as the
    product: it is one more pass over the memory.
    """
    matrix = torch.cat([weight, bias.unsqueeze(-1)], dim=-1)
    if not hands_on:
        return matrix
    one = torch.zeros_like(matrix[..., :1, :])
    one[..., -1] = 1.0
    return torch.cat([matrix, one], dim=-2)


def resample(maps_s8: Tensor, stride: int) -> Tensor:
    """Bilinear, ``[..., h, w]`` of stride 8 to ``stride`` 16, 8, 4 or 2 (Table 3); values are kept as they are."""
    if stride == FEATURE_STRIDE:
        return maps_s8
    flat = maps_s8.flatten(0, -4) if maps_s8.dim() > 4 else maps_s8
    if stride > FEATURE_STRIDE:  # halving bilinearly is the mean of two by two
        flat = F.avg_pool2d(flat, stride // FEATURE_STRIDE, ceil_mode=True, count_include_pad=False)
    else:
        flat = F.interpolate(flat, scale_factor=FEATURE_STRIDE / stride, mode="bilinear", align_corners=False)
    return flat.view(*maps_s8.shape[:-2], *flat.shape[-2:])
