"""The form in which a trained network is asked: batch normalisation inside convolutions, memory laid out for speed."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._pytree import tree_leaves

from lightning_modules.shared.channels_first import HalvingPool, NarrowConvolution, is_halving, is_narrow

PROBE = 128
"""Height and width of the picture that a network is tried on; a multiple of every paper's stride."""
TOLERANCE = 1e-4
"""Of the largest value of an output."""


@torch.no_grad()
def inference_form(network: nn.Module) -> nn.Module:
    """``network``, changed in place: it computes what it did, up to rounding, in less time; not to be trained any more.

    A batch normalisation in eval mode is a scale and a shift of each channel: the convolution that feeds it takes them
    over. Which one feeds which is seen in a run, not in names. Then all is laid out as ``memory_format_of`` says, in
    which its images are to come too. A network that says something else afterwards gets its own layers back, with a
    warning.

    Args:
        network: in eval mode; takes normalised images f32 [B, 3, H, W].

    Raises:
        ValueError: ``network`` is in training mode.
    """
    if network.training:
        raise ValueError("a network in training mode has no inference form; call eval() first")
    place = next(network.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, PROBE, PROBE, generator=generator).to(place.device, place.dtype)
    pairs, before = _seen_pairs(network, images)
    originals = _fold(network, pairs)
    layout = memory_format_of(network)
    network.to(memory_format=layout)
    if layout is torch.contiguous_format:
        originals |= _made_for_channels_first(network)
    if not _agree(before, _tensors(network(images.contiguous(memory_format=layout)))):
        warnings.warn("batch normalisation stays as it is: folded, this network says something else", stacklevel=2)
        for name, module in originals.items():
            network.set_submodule(name, module)
    return network


def memory_format_of(network: nn.Module) -> torch.memory_format:
    """Channels last, in which convolutions are fastest; on a CPU the network's ``cpu_memory_format`` if it has one."""
    if next(network.parameters()).device.type == "cpu":
        return getattr(network, "cpu_memory_format", torch.channels_last)
    return torch.channels_last


def _made_for_channels_first(network: nn.Module) -> dict[str, nn.Module]:
    """Put what has a faster form in that form, its own (``folded``) or a layer's; the modules replaced, by name."""
    originals: dict[str, nn.Module] = {}
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.MaxPool2d) and is_halving(module):
            successor: nn.Module = HalvingPool()
        elif isinstance(module, nn.Conv2d) and is_narrow(module):
            successor = NarrowConvolution(module)
        elif hasattr(module, "folded"):
            successor = module.folded()
        else:
            continue
        originals[name] = module
        network.set_submodule(name, successor)
    return originals


def _seen_pairs(network: nn.Module, images: Tensor) -> tuple[dict[nn.Module, nn.Module], list[Tensor]]:
    """Convolution -> the batch normalisation that alone takes its output; and what the network says."""
    made: dict[int, tuple[nn.Module, Tensor]] = {}
    takers: dict[nn.Module, set[nn.Module | None]] = {}
    givers: dict[nn.Module, set[nn.Module | None]] = {}

    def note_output(convolution: nn.Module, _: Any, output: Tensor) -> None:
        made[id(output)] = convolution, output  # the tensor is kept, so that no other gets its id
        takers.setdefault(convolution, set())

    def note_input(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        convolution = made.get(id(given[0]), (None, None))[0]
        givers.setdefault(norm, set()).add(convolution)
        if convolution is not None:
            takers[convolution].add(norm)

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            hooks.append(module.register_forward_hook(note_output))
        elif isinstance(module, _BatchNorm):
            hooks.append(module.register_forward_pre_hook(note_input))
    try:
        outputs = _tensors(network(images))
    finally:
        for hook in hooks:
            hook.remove()
    pairs = {convolution: next(iter(norms)) for convolution, norms in takers.items() if len(norms) == 1}
    return {conv: norm for conv, norm in pairs.items() if norm is not None and givers[norm] == {conv}}, outputs


def _fold(network: nn.Module, pairs: dict[nn.Module, nn.Module]) -> dict[str, nn.Module]:
    """Put folded convolutions in the place of pairs; the modules they replace, by name."""
    names = {module: name for name, module in network.named_modules()}
    originals: dict[str, nn.Module] = {}
    for convolution, norm in pairs.items():
        if not isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d) or not isinstance(norm, _BatchNorm):
            continue
        if norm.running_var is None:
            continue
        is_transposed = isinstance(convolution, nn.ConvTranspose2d)
        folded = fuse_conv_bn_eval(convolution, norm, transpose=is_transposed)
        for module, successor in ((convolution, folded), (norm, _rest(norm))):
            originals[names[module]] = module
            network.set_submodule(names[module], successor)
    return originals


def _rest(norm: nn.Module) -> nn.Module:
    """What a normalisation does besides: timm's apply the activation too."""
    return getattr(norm, "act", None) or nn.Identity()


def _tensors(output: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def _agree(before: list[Tensor], after: list[Tensor]) -> bool:
    return len(before) == len(after) and all(_is_close(*pair) for pair in zip(before, after, strict=True))


def _is_close(expected: Tensor, given: Tensor) -> bool:
    if expected.shape != given.shape:
        return False
    if not expected.is_floating_point():
        return bool(torch.equal(expected, given))
    scale = expected.float().abs().max().clamp(min=1e-12) if expected.numel() else 1.0
    return bool(((expected.float() - given.float()).abs() <= TOLERANCE * scale).all())
