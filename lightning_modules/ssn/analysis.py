"""The numbers behind Section 4.1: what offsets contribute to keypoints, and which windows a module forms."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.ssn.feature_shift import FeatureShiftModule


class Window(NamedTuple):
    """The convolution window of one non-local channel at one output position (Fig. 7, small bottom)."""

    positions: Tensor
    """f32 [K, 2], x and y in the input map: where each shifting channel looks, x − Δx_k and y − Δy_k."""
    energy: Tensor
    """f32 [K], Σ_c' w^FSM_{c,k,c'} of Eq. 5."""


def keypoint_offset_scores(network: nn.Module, module: FeatureShiftModule, images: Tensor) -> Tensor:
    """What each shifting channel of ``module`` contributes to each keypoint (supplement, Section 1).

    For keypoint m the target is the prediction with the maximum of channel m set to zero; the gradient of the mean
    squared error in the shifted maps is averaged over the map. The supplement does not say how signs, images and the
    scale of a channel are treated. # choice: magnitudes, their mean over images, each channel divided by its largest.

    Args:
        network: in eval mode; its output has ``heatmap_s4`` [B, M, H/4, W/4].
        module: a part of ``network`` that is inserted.
        images: f32 [B, 3, H, W], normalised.

    Returns:
        f32 [M, K] in [0, 1]; a channel without any influence is 0. The paper draws scores above 0.5.
    """
    shifted: list[Tensor] = []

    def keep(part: nn.Module, inputs: Any, output: Tensor) -> None:
        shifted.append(output)

    handle = module.shift.register_forward_hook(keep)
    try:
        heatmap = network(images).heatmap_s4
    finally:
        handle.remove()
    peak = heatmap.flatten(2).amax(dim=2, keepdim=True)
    scores = []
    for keypoint in range(heatmap.shape[1]):
        target = heatmap.detach().flatten(2).clone()
        target[:, keypoint] = target[:, keypoint].masked_fill(target[:, keypoint] == peak[:, keypoint].detach(), 0.0)
        loss = (heatmap.flatten(2) - target).square().mean()
        (gradient,) = torch.autograd.grad(loss, shifted[0], retain_graph=True)
        scores.append(gradient.mean(dim=(2, 3)).abs().mean(dim=0))
    table = torch.stack(scores)
    largest = table.amax(dim=0, keepdim=True)
    return torch.where(largest > 0, table / largest, 0.0)


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
