"""Guided points (§3.1): where the second stage looks in training, and what it is told about each point.

Frame: heatmap pixel indices, x y; a cell's index is its centre; a map spans [0, W' - 1] × [0, H' - 1]. A joint at input
coordinate x lies at x / 4. Points are [B, K, N, 2] throughout and never leave the map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

from lightning_modules.graph_pcnn.config import Config
from lightning_modules.shared.precision import full_precision

_REJECTION_ROUNDS = 6
"""Candidates drawn per far point. The disk covers 3.7 % of the paper's maps: all fail once in 4e8 draws."""
_INSIDE = 1.0 - 1e-5
"""Keeps near points strictly inside the radius after rounding to fp32."""


class GuidedPoints(NamedTuple):
    """N points per keypoint, without gradient."""

    position: Tensor
    """f32 [B, K, N, 2], s."""
    offset: Tensor
    """f32 [B, K, N, 2], t - s, heatmap pixels; meaningless where the keypoint is not labelled."""
    heat: Tensor
    """f32 [B, K, N] >= 0, response h of the predicted heatmap at the point."""
    is_positive: Tensor
    """bool [B, K, N], Eq. 6; False where the keypoint is not labelled."""
    is_reliable: Tensor
    """bool [B, K, N], R of Eq. 12 in training; False where the keypoint is not labelled."""


@dataclass(frozen=True)
class GuidedPointSampler:
    """Samples, labels and shuffles guided points on the heatmap's device, without a host sync."""

    counts: tuple[int, int, int]
    """Points of kind (a) near the joint, (b) far from it, (c) of high response."""
    positive_radius: float
    """Heatmap pixels."""
    reliable_radius: float
    """Heatmap pixels."""
    shuffle: bool = True

    @classmethod
    def from_config(cls, config: Config) -> GuidedPointSampler:
        return cls(
            split_points(config.num_points, config.proportion),
            config.positive_radius * config.sigma,
            config.reliable_radius * config.sigma,
            config.shuffle,
        )

    @torch.no_grad()
    def __call__(
        self, heatmap: Tensor, target: Tensor, is_labelled: Tensor, generator: Generator | None = None
    ) -> GuidedPoints:
        """Sample N points for each keypoint.

        Args:
            heatmap: f32 [B, K, H', W'], predicted; N may not exceed its cells.
            target: f32 [B, K, 2], t in heatmap pixels; read where labelled only.
            is_labelled: bool [B, K].
            generator: for repeatable draws.

        Raises:
            ValueError: N exceeds the heatmap's cells.
        """
        points, (height, width) = sum(self.counts), heatmap.shape[-2:]
        if points > height * width:
            raise ValueError(
                f"model.num_points={points}: a heatmap of {height}×{width} has fewer cells; "
                "set fewer points, or a larger data.crop_size"
            )
        heatmap = heatmap.detach().float()
        # choice: an unlabelled keypoint is sampled around its response, so that batch norm meets no odd corner.
        center = torch.where(is_labelled[..., None], target.float(), peak_cells(heatmap))
        near, far, high = self.counts
        parts = [
            near_points(center, near, self.positive_radius, heatmap.shape[-2:], generator),
            far_points(center, far, self.positive_radius, heatmap.shape[-2:], generator),
            high_response_points(heatmap, high, sum(self.counts), generator),
        ]
        position = torch.cat(parts, dim=2)
        if self.shuffle:  # each keypoint by itself: labels are computed from what stands where
            order = _uniform(position.shape[:3], position, generator).argsort(dim=2)
            position = position.gather(2, order[..., None].expand_as(position))
        offset = center[:, :, None] - position
        distance = offset.norm(dim=-1)
        return GuidedPoints(
            position=position,
            offset=offset,
            heat=heat_at(heatmap, position),
            is_positive=(distance < self.positive_radius) & is_labelled[..., None],  # Eq. 6
            is_reliable=(distance < self.reliable_radius) & is_labelled[..., None],  # Eq. 12
        )


def split_points(total: int, proportion: list[int]) -> tuple[int, int, int]:
    """Divide N points by the shares of kinds (a), (b), (c); what does not divide goes to the first kinds asked for.

    Raises:
        ValueError: shares that are not three, are negative or all zero; or fewer points than kinds asked for.
    """
    if len(proportion) != 3 or min(proportion) < 0 or sum(proportion) == 0:
        raise ValueError(f"model.proportion {list(proportion)}: three shares, none negative and not all zero")
    if total < sum(share > 0 for share in proportion):
        raise ValueError(f"model.num_points {total}: fewer points than kinds asked for by {list(proportion)}")
    counts = [total * share // sum(proportion) for share in proportion]
    asked = [kind for kind in range(3) if proportion[kind] > 0]
    for i in range(total - sum(counts)):
        counts[asked[i % len(asked)]] += 1
    return counts[0], counts[1], counts[2]


def near_points(
    center: Tensor, count: int, radius: float, size: torch.Size, generator: Generator | None = None
) -> Tensor:
    """Kind (a): uniform in the disk around ``center`` f32 [B, K, 2], clamped to the map -> f32 [B, K, count, 2].

    Every point is nearer than ``radius`` to the centre, also where the centre lies up to a pixel outside the map:
    the disk is then drawn around the nearest point of the map and smaller by the distance between them.
    """
    limit = _limit(size, center)
    inside = center.clamp(min=center.new_zeros(2)).minimum(limit)
    reach = (radius - (center - inside).norm(dim=-1, keepdim=True)).clamp_min(0) * _INSIDE
    draw = _uniform((*center.shape[:2], count, 2), center, generator)
    angle = 2 * math.pi * draw[..., 0]
    distance = reach * draw[..., 1].sqrt()  # the square root makes the density uniform
    points = inside[:, :, None] + distance[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
    return points.clamp_min(0).minimum(limit)


def far_points(
    center: Tensor, count: int, radius: float, size: torch.Size, generator: Generator | None = None
) -> Tensor:
    """Kind (b): uniform on the map at ``radius`` or more from ``center`` f32 [B, K, 2] -> f32 [B, K, count, 2].

    Rejection with a fixed number of candidates; where all fail, the corner of the map farthest from the centre.
    """
    limit = _limit(size, center)
    candidates = _uniform((*center.shape[:2], count, _REJECTION_ROUNDS, 2), center, generator) * limit
    is_far = (candidates - center[:, :, None, None]).norm(dim=-1) >= radius
    first = is_far.float().argmax(dim=-1)  # the first True, or 0
    chosen = candidates.gather(3, first[..., None, None].expand(*first.shape, 1, 2)).squeeze(3)
    corner = torch.where(center < limit / 2, limit, 0.0)[:, :, None]
    return torch.where(is_far.any(dim=-1)[..., None], chosen, corner)


def high_response_points(heatmap: Tensor, count: int, top: int, generator: Generator | None = None) -> Tensor:
    """Kind (c): ``count`` different cells at random out of the ``top`` highest of each map -> f32 [B, K, count, 2]."""
    width = heatmap.shape[-1]
    cells = heatmap.flatten(2).topk(top, dim=2, sorted=False).indices
    chosen = _uniform(cells.shape, heatmap, generator).argsort(dim=2)[..., :count]
    return _coordinates(cells.gather(2, chosen), width)


def peak_cells(heatmap: Tensor) -> Tensor:
    """The highest cell of each map f32 [B, K, H', W'] -> f32 [B, K, 2]."""
    return _coordinates(heatmap.flatten(2).argmax(dim=2), heatmap.shape[-1])


def features_at(features: Tensor, position: Tensor) -> Tensor:
    """f = F[s]: bilinear values of f32 [B, C, H', W'] at f32 [B, K, N, 2] -> f32 [B, K, N, C]."""
    return _bilinear(features, position).permute(0, 2, 3, 1)


def heat_at(heatmap: Tensor, position: Tensor) -> Tensor:
    """h = H_k[s_k]: each keypoint's own map f32 [B, K, H', W'] at f32 [B, K, N, 2] -> f32 [B, K, N] >= 0, detached.

    choice: negative responses count as 0, so that no weight of Eq. 7 is negative.
    """
    maps = heatmap.detach().flatten(0, 1)[:, None]
    values = _bilinear(maps, position.flatten(0, 1)[:, :, None])
    return values.view(position.shape[:3]).clamp_min(0)


def _bilinear(maps: Tensor, position: Tensor) -> Tensor:
    """f32 [B, C, H', W'] at f32 [B, P, Q, 2] -> f32 [B, C, P, Q]; in fp32 also under autocast."""
    limit = _limit(maps.shape[-2:], position)
    with full_precision(maps.device):
        return grid_sample(
            maps.float(), position.float() * (2 / limit) - 1, mode="bilinear", padding_mode="border", align_corners=True
        )


def _limit(size: torch.Size, like: Tensor) -> Tensor:
    """f32 [2], the last x and y of a map of (H', W')."""
    height, width = size
    return torch.stack([like.new_full((), width - 1.0), like.new_full((), height - 1.0)])  # no copy from the host


def _coordinates(cells: Tensor, width: int) -> Tensor:
    return torch.stack([cells % width, cells // width], dim=-1).float()


def _uniform(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
    return torch.rand(shape, device=like.device, generator=generator)
