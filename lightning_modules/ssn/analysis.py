"""The numbers behind Section 4.1: what channels contribute to keypoints, and which windows a module forms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.ssn.feature_shift import FeatureShiftModule


class Scores(NamedTuple):
    """How much the channels of a module contribute to each of M keypoints, in [0, 1]; 0 without any influence."""

    shifted: Tensor
    """f32 [M, K], the shifted maps S: scores of the offsets (Fig. 5c)."""
    non_local: Tensor
    """f32 [M, C], the non-local maps w^β(F ⊙ S) (Fig. 6, top)."""
    inputs: Tensor
    """f32 [M, C], the input maps P (Fig. 6, top)."""
    attention: Tensor | None
    """f32 [M, K], the correlation attention F (Fig. 6, bottom); None without."""
    non_local_parts: Tensor
    """f32 [M, C], gradient × activation of the non-local maps."""
    input_parts: Tensor
    """f32 [M, C], gradient × activation of the input maps in the sum with the non-local ones."""


class Window(NamedTuple):
    """The convolution window of one non-local channel at one output position (Fig. 7, small bottom)."""

    positions: Tensor
    """f32 [K, 2], x and y in the input map: where each shifting channel looks, x − Δx_k and y − Δy_k."""
    energy: Tensor
    """f32 [K], Σ_c' w^FSM_{c,k,c'} of Eq. 5."""


def keypoint_scores(network: nn.Module, module: FeatureShiftModule, crops: Iterable[Tensor]) -> Scores:
    """What each channel of ``module`` contributes to each keypoint (supplement, Section 1).

    For keypoint m the target is the prediction with the maximum of channel m set to zero; the gradient of the mean
    squared error in the channel's map is averaged over the map. The supplement does not say how signs, images and the
    scale of a channel are treated. # choice: magnitudes, their mean over images, each channel divided by its largest.

    Eq. 4 adds non-local and input maps, so their gradients are nearly equal while the module's branch is weak. Gradient
    × activation tells how much of the sum is of either: both parts of a channel share one divisor.

    Args:
        network: in eval mode; its output has ``heatmap_s4`` [B, M, H/4, W/4].
        module: a part of ``network`` that is inserted.
        crops: batches f32 [B, 3, H, W], normalised; at least one.
    """
    sums: list[Tensor] = []
    for images in crops:
        found = [gradients.abs().sum(dim=0) for gradients in _gradients(network, module, images)]
        sums = [total + more for total, more in zip(sums, found, strict=True)] if sums else found
    *parts, shifted, non_local, inputs = sums[:5]
    attention = _normalized(sums[5]) if len(sums) > 5 else None
    non_local_parts, input_parts = _normalized(torch.cat(parts)).chunk(2)
    return Scores(
        _normalized(shifted), _normalized(non_local), _normalized(inputs), attention, non_local_parts, input_parts
    )


def _gradients(network: nn.Module, module: FeatureShiftModule, images: Tensor) -> list[Tensor]:
    """Gradients of every keypoint's error, averaged over the maps: f32 [B, M, n].

    First those of N = w^β(F ⊙ S) times N, and times P; then those of S, N, P, and F if there is one.
    """
    parts = [module.shift, module.expand, *([] if module.attention is None else [module.attention])]
    with torch.enable_grad():
        heatmap, (maps, *outputs) = _watch(network, module, parts, images)
        watched = [*outputs[:2], maps, *outputs[2:]]
        values = heatmap.flatten(2)
        peak = values.detach().amax(dim=2)
        found: list[list[Tensor]] = []
        for keypoint in range(values.shape[1]):
            target = values.detach().clone()
            target[:, keypoint].masked_fill_(target[:, keypoint] == peak[:, keypoint, None], 0.0)
            loss = (values - target).square().mean(dim=(1, 2)).sum()
            gradients = torch.autograd.grad(loss, watched, retain_graph=True)
            of_sum = [gradients[1] * term.detach() for term in (watched[1], maps)]
            found.append([gradient.mean(dim=(2, 3)) for gradient in (*of_sum, *gradients)])
    return [torch.stack(of_keypoints, dim=1) for of_keypoints in zip(*found, strict=True)]


def _watch(
    network: nn.Module, module: FeatureShiftModule, parts: Sequence[nn.Module], images: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """``heatmap_s4`` of ``images``, and P and the outputs of ``parts`` on the way."""
    seen: dict[nn.Module, Tensor] = {}

    def keep_input(part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen[part] = inputs[0] if inputs[0].requires_grad else inputs[0].detach().requires_grad_()
        return (seen[part],)

    def keep_output(part: nn.Module, inputs: Any, output: Tensor) -> None:
        seen[part] = output

    hooks = [
        module.register_forward_pre_hook(keep_input),
        *(part.register_forward_hook(keep_output) for part in parts),
    ]
    try:
        heatmap = network(images).heatmap_s4
    finally:
        for hook in hooks:
            hook.remove()
    return heatmap, [seen[part] for part in (module, *parts)]


def _normalized(sums: Tensor) -> Tensor:
    """[M, n], each of the n channels divided by its largest."""
    largest = sums.amax(dim=0, keepdim=True)
    return torch.where(largest > 0, sums / largest, 0.0)


@torch.no_grad()
def input_maps(network: nn.Module, modules: Sequence[FeatureShiftModule], images: Tensor) -> list[Tensor]:
    """P [B, C, h, w] of each of ``modules``, parts of ``network``, for normalised crops f32 [B, 3, H, W]."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[part] = inputs[0].clone()

    hooks = [module.register_forward_pre_hook(keep) for module in modules]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [seen[module] for module in modules]


def clearest_channel(maps: Tensor, cells: Tensor) -> int:
    """The non-local channel that responds most at two points of every crop. Fig. 7 shows maps "with clear meaning".

    # choice: the lower of both responses, in standard deviations above the map's mean, highest on average over crops.

    Args:
        maps: non-local maps f32 [N, C, h, w].
        cells: i64 [N, 2, 2], column and row of each of the two points.
    """
    flat = maps.flatten(2)
    standard = (flat - flat.mean(2, keepdim=True)) / flat.std(2, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    index = cells[..., 1] * maps.shape[3] + cells[..., 0]
    response = standard.gather(2, index[:, None].expand(-1, maps.shape[1], -1))
    return int(response.amin(2).mean(0).argmax())


@torch.no_grad()
def window(module: FeatureShiftModule, maps: Tensor, channel: int, cell: tuple[int, int]) -> Window:
    """The window that ``module`` forms for non-local channel ``channel`` at column, row ``cell`` of P [1, C, h, w]."""
    alpha, beta = module.reduce.weight[:, :, 0, 0], module.expand.weight[channel, :, 0, 0]
    column, row = cell
    energy = beta * alpha.sum(dim=1)
    if module.attention is not None:
        energy = energy * module.attention(maps)[0, :, row, column]
    offsets = getattr(module.shift, "offsets", None)
    start = torch.tensor([column, row], dtype=torch.float32, device=maps.device)
    return Window(start.expand(len(energy), 2) if offsets is None else start - offsets, energy)


def effective_receptive_field(module: FeatureShiftModule, maps: Tensor, channel: int, cell: tuple[int, int]) -> Tensor:
    """Squared gradient of one value of a non-local map in P [1, C, h, w], summed over C: f32 [h, w] (Fig. 7)."""
    inputs = maps.detach().requires_grad_()
    column, row = cell
    (gradient,) = torch.autograd.grad(module.non_local_maps(inputs)[0, channel, row, column], inputs)
    return gradient[0].square().sum(dim=0)
