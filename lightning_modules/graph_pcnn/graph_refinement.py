"""Graph pose refinement (§3.2): messages along the skeleton's limbs, then one small network per keypoint.

Guided points come as [B, K, N]: graph (b, n) holds point n of every keypoint. Inside, features are laid out keypoint
first, [K, C, M] with M = B·N, so that every keypoint's or limb's own matrix is one slice of one batched product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lightning_modules.graph_pcnn.config import Refinement
from lightning_modules.shared.precision import full_precision


class Refined(NamedTuple):
    logits: Tensor
    """f32 [B, K, N, 2]: background, keypoint (c of §3.3)."""
    offset: Tensor
    """f32 [B, K, N, 2]: x, y from the guided point to the keypoint (r of Eq. 5), in ``Config.offset_unit``."""


def directed_edges(limbs: tuple[tuple[int, int], ...], num_keypoints: int, neighbours: bool) -> list[tuple[int, int]]:
    """(source, target) pairs: each keypoint to itself first, then, with ``neighbours``, each limb both ways.

    COCO's 17 keypoints and 19 limbs give 55. A limb given twice counts once.
    """
    loops = [(k, k) for k in range(num_keypoints)]
    pairs = {pair for a, b in limbs for pair in ((a, b), (b, a))} if neighbours else set()
    return loops + sorted(pairs)


class GraphConvolution(nn.Module):
    """Eq. 7: g_k = Σ ω_k' T_k'k(f_k') / Σ ω_k' over k and its neighbours, ω_k = 1.

    One C×D matrix per directed edge, one bias per target keypoint; all edges are one batched product. T is linear:
    weighing comes before it.
    """

    source: Tensor
    target: Tensor
    from_neighbour: Tensor

    def __init__(self, in_channels: int, out_channels: int, edges: list[tuple[int, int]], num_keypoints: int) -> None:
        super().__init__()
        self.weight = _matrices(len(edges), out_channels, in_channels)
        self.bias = nn.Parameter(torch.zeros(num_keypoints, out_channels, 1))
        source, target = torch.tensor(edges).unbind(1)
        self.register_buffer("source", source, persistent=False)
        self.register_buffer("target", target, persistent=False)
        self.register_buffer("from_neighbour", (source != target)[:, None], persistent=False)

    def forward(self, features: Tensor, weights: Tensor) -> Tensor:
        """features f32 [K, C, M], weights ω of a point as a neighbour f32 [K, M] >= 0 -> f32 [K, D, M]."""
        edge_weights = torch.where(self.from_neighbour, weights[self.source], 1.0)
        total = edge_weights.new_zeros(weights.shape).index_add(0, self.target, edge_weights)  # Z_k
        share = (edge_weights / total[self.target]).to(features.dtype)
        summed = _Messages.apply(_as_autocast(self.weight), features, share, self.source, self.target)
        return summed + self.bias


class _Messages(torch.autograd.Function):
    """Σ T_k'k(ω f_k') over the directed edges to k, the transforms W [E, D, C]: [K, C, M] -> [K, D, M].

    For the backward pass features are kept as they came, once, and laid side by side for every edge again.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, features: Tensor, share: Tensor, source: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(weight, features, share, source, target)
        with full_precision(features.device):
            messages = torch.bmm(weight, features.index_select(0, source).mul_(share[:, None]).to(weight.dtype))
            return messages.new_zeros(len(features), *messages.shape[1:]).index_add_(0, target, messages)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, features, share, source, target = ctx.saved_tensors
        by_weight = by_features = by_share = None
        with full_precision(features.device):
            gradient, inputs = gradient.index_select(0, target), features.index_select(0, source)
            by_input = torch.bmm(weight.transpose(1, 2), gradient).to(features.dtype)
            if ctx.needs_input_grad[2]:
                by_share = (by_input * inputs).sum(1)
            if ctx.needs_input_grad[1]:
                by_features = torch.zeros_like(features).index_add_(0, source, by_input.mul_(share[:, None]))
            if ctx.needs_input_grad[0]:
                by_weight = torch.bmm(gradient, inputs.mul_(share[:, None]).to(weight.dtype).transpose(1, 2))
        return by_weight, by_features, by_share, None, None


def _as_autocast(weight: Tensor) -> Tensor:
    """In the type that autocast, where it is on, would give a product."""
    device = weight.device.type
    on = device != "meta" and torch.is_autocast_enabled(device)
    return weight.to(torch.get_autocast_dtype(device)) if on else weight


class PointwiseHead(nn.Module):
    """Fully connected layers with batch norm and ReLU, then classification and regression, each keypoint its own.

    f32 [K, D, M] -> logits f32 [K, 2, M], offsets f32 [K, 2, M].
    """

    def __init__(self, num_keypoints: int, channels: int, layers: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList([KeypointLinear(num_keypoints, channels, channels) for _ in range(layers)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(num_keypoints * channels) for _ in range(layers)])
        self.classification = KeypointLinear(num_keypoints, channels, 2)
        self.regression = KeypointLinear(num_keypoints, channels, 2)
        for layer in (self.classification, self.regression):
            nn.init.normal_(layer.weight, std=0.001)  # choice: at first the second stage repeats the first

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        for linear, norm in zip(self.hidden, self.norms, strict=True):
            features = linear(features)
            features = norm(features.flatten(0, 1)[None]).view_as(features).relu()
        return self.classification(features), self.regression(features)


class KeypointLinear(nn.Module):
    """K linear layers side by side: f32 [K, C, M] -> f32 [K, D, M]."""

    def __init__(self, num_keypoints: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = _matrices(num_keypoints, out_channels, in_channels)
        self.bias = nn.Parameter(torch.zeros(num_keypoints, out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        return torch.bmm(self.weight, features) + self.bias


class PoseRefinement(nn.Module):
    """Stage 2 behind the localization subnet: guided features -> classification and offset (Fig. 4)."""

    def __init__(
        self,
        variant: Refinement,
        in_channels: int,
        channels: int,
        head_layers: int,
        limbs: tuple[tuple[int, int], ...],
        num_keypoints: int,
    ) -> None:
        super().__init__()
        edges = directed_edges(limbs, num_keypoints, neighbours=variant is not Refinement.struct_agnostic)
        self.graph = GraphConvolution(in_channels, channels, edges, num_keypoints)
        self.head = PointwiseHead(num_keypoints, channels, head_layers)
        self.neighbour_weight = _NEIGHBOUR_WEIGHTS[variant]

    def forward(self, features: Tensor, heat: Tensor, is_reliable: Tensor) -> Refined:
        """Refine guided points.

        Args:
            features: f32 [B, K, N, C], the localization map at the points.
            heat: f32 [B, K, N] >= 0, heat response h of the points, without gradient.
            is_reliable: bool [B, K, N], R of Eq. 12.
        """
        weights = self.neighbour_weight(heat, is_reliable)
        graphs = features.permute(1, 3, 0, 2).flatten(2)
        logits, offset = self.head(self.graph(graphs, weights.transpose(0, 1).flatten(1)))
        batch, keypoints, points, _ = features.shape
        shape = (keypoints, 2, batch, points)
        return Refined(
            logits.float().view(shape).permute(2, 0, 3, 1),
            offset.float().view(shape).permute(2, 0, 3, 1),
        )


def _matrices(count: int, rows: int, columns: int) -> nn.Parameter:
    """``count`` matrices [count, rows, columns], each with ``nn.Linear``'s initialisation."""
    bound = columns**-0.5
    return nn.Parameter(torch.empty(count, rows, columns).uniform_(-bound, bound))


def _heat_of_reliable(heat: Tensor, is_reliable: Tensor) -> Tensor:
    return heat * is_reliable


def _reliable(heat: Tensor, is_reliable: Tensor) -> Tensor:
    return is_reliable.to(heat.dtype)


def _all(heat: Tensor, is_reliable: Tensor) -> Tensor:
    return torch.ones_like(heat)


_NEIGHBOUR_WEIGHTS = {
    Refinement.gpr: _heat_of_reliable,
    Refinement.gpr_vb: _reliable,
    Refinement.gpr_va: _all,
    Refinement.struct_agnostic: _heat_of_reliable,  # without neighbours nothing is weighed
}
