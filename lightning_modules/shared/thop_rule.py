"""What the counter of 2020 (thop 0.0.31) prints: for standing beside published figures, never for ours.

It hooks convolutions, transposed convolutions, linear layers and batch normalisation, and nothing else. Attention's
own weights, LayerNorm, QKᵀ and AV are missed; a transposed convolution counts every output pixel under every kernel
tap, stride² times what it computes; a bias counts one per output, batch normalisation two per value.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
COUNTED = (*CONVOLUTIONS, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class PrintedCount(NamedTuple):
    parameters: int
    macs: int


def printed_count(network: nn.Module, images: Tensor, *, attention: type[nn.Module]) -> PrintedCount:
    """Parameters and "MACs" by the old rule, of one forward pass in eval mode; works on ``meta`` tensors.

    Args:
        attention: modules of this type hide their projections from the rule, as ``nn.MultiheadAttention`` does.
    """
    hidden = {part for module in network.modules() if isinstance(module, attention) for part in module.modules()}
    counts = {"parameters": 0, "macs": 0}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts["parameters"] += sum(parameter.numel() for parameter in module.parameters())
        counts["macs"] += _macs(module, inputs[0], output)

    counted = [module for module in network.modules() if isinstance(module, COUNTED) and module not in hidden]
    handles = [module.register_forward_hook(count) for module in counted]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(images)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return PrintedCount(**counts)


def _macs(module: nn.Module, inputs: Tensor, output: Tensor) -> int:
    if isinstance(module, CONVOLUTIONS):
        taps = module.weight[0, 0].numel() * module.in_channels // module.groups
        return output.numel() * (taps + (module.bias is not None))
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    return 2 * inputs.numel()
