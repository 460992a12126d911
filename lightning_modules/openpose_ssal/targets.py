"""What the network should say about a batch: heatmaps, fields, offsets, attention (Eqs. 2, 6, 7, 15). On the device.

The paper's frame puts cell i at pixel 8i + 3.5 of COCO's indices; in the suite's continuous coordinates that is the
cell's centre 8(i + 0.5), so nothing has to be converted.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.contracts import PoseBatch
from lightning_modules.openpose_ssal.config import Config, PafOverlap
from lightning_modules.openpose_ssal.parts import Parts, at, keypoints_to_parts
from lightning_modules.shared.gaussians import bell
from losses.spatial_attention import segment_gaussian

_IGNORE_STRIDE = 4
_REFERENCE_CELL = 8


class Targets(NamedTuple):
    """Targets on the grid h = H / f_d, w = W / f_d, fp32, without gradient. N parts, L limbs."""

    heatmaps: Tensor
    """[B, N + 1, h, w] in [0, 1], the background 1 − max last."""
    pafs: Tensor
    """[B, L, 2, h, w], unit vectors on limbs, 0 elsewhere."""
    on_limb: Tensor
    """bool [B, L, h, w]."""
    offsets: Tensor
    """[B, N, 2, h, w] in cells, within ±0.5: from the cell's centre to the nearest person's part; 0 without people."""
    attention: Tensor
    """G of Eq. 15, [B, L, h, w] in [0, 1]: largest over people; 0 without people."""
    learnt: Tensor
    """M, bool [B, 1, h, w]: False on ignored regions and padding."""


@torch.no_grad()
def encode_targets(batch: PoseBatch, parts: Parts, config: Config) -> Targets:
    """Encode the people of a batch; neither loops over people nor copies to the host.

    Args:
        batch: H and W multiples of ``config.network.downsampling``.
        parts: what is predicted.
        config: downsampling, widths and the rule where people overlap.

    A batch without people is all background.
    """
    cell = config.network.downsampling
    height, width = (side // cell for side in batch.images.shape[-2:])
    points, labelled = keypoints_to_parts(batch.persons.keypoints.float(), batch.persons.visibility, parts)
    labelled = labelled & batch.persons.is_real[..., None]
    x = (torch.arange(width, device=points.device) + 0.5) * cell
    y = (torch.arange(height, device=points.device) + 0.5) * cell
    first, second = zip(*parts.limbs, strict=True)
    start, end = at(points, first), at(points, second)
    complete = at(labelled, first) & at(labelled, second)
    scale = cell / _REFERENCE_CELL  # choice: widths grow with the cell; 7 px would leave cells of 16 px without a peak
    pafs, on_limb = affinity_fields(
        x, y, start, end, complete, config.paf_half_width * scale, config.paf_overlap is PafOverlap.average
    )
    return Targets(
        part_heatmaps(x, y, points, labelled, config.sigma * scale),
        pafs,
        on_limb,
        block_offsets(x, y, points, labelled, cell),
        limb_attention(x, y, start, end, complete, cell, config.salm_min_sigma),
        _learnt(batch.ignore, cell, (height, width)),
    )


def part_heatmaps(x: Tensor, y: Tensor, points: Tensor, labelled: Tensor, sigma: float) -> Tensor:
    """Gaussians exp(−d²/2σ²), largest over people, and the background (Eq. 6 as the code has it).

    Args:
        x: [w], abscissae of the cells' centres, pixels; ``y`` [h] likewise.
        y: [h].
        points: [B, P, N, 2], pixels.
        labelled: bool [B, P, N].
        sigma: pixels.

    Returns:
        [B, N + 1, h, w].
    """
    along_x = bell(x - points[..., 0, None], sigma) * labelled[..., None]
    along_y = bell(y - points[..., 1, None], sigma)
    heatmaps = _over_people(along_y[..., :, None] * along_x[..., None, :])  # Eq. 6, separable
    return torch.cat((heatmaps, 1 - heatmaps.amax(1, keepdim=True)), dim=1)


def affinity_fields(
    x: Tensor, y: Tensor, start: Tensor, end: Tensor, complete: Tensor, half_width: float, average: bool
) -> tuple[Tensor, Tensor]:
    """Unit vectors along limbs (Eq. 2): within ``half_width`` of the line and of the box around its two ends.

    Args:
        x: [w], abscissae of the cells' centres, pixels; ``y`` [h] likewise.
        y: [h].
        start: [B, P, L, 2], the parents, pixels.
        end: [B, P, L, 2], the children, pixels.
        complete: bool [B, P, L], both ends are labelled.
        half_width: pixels.
        average: where people overlap, their mean vector; else the last person's.

    Returns:
        fields [B, L, 2, h, w] and bool [B, L, h, w] (on a limb).
    """
    along = end - start
    length = along.square().sum(-1, keepdim=True).sqrt()
    unit = along / length.clamp_min(1e-6)
    complete = complete & (length[..., 0] > 1e-3)
    low, high = torch.minimum(start, end) - half_width, torch.maximum(start, end) + half_width
    in_x = (x >= low[..., 0, None]) & (x <= high[..., 0, None]) & complete[..., None]
    in_y = (y >= low[..., 1, None]) & (y <= high[..., 1, None])
    across_x = (x - start[..., 0, None]) * unit[..., 1, None]
    across_y = (y - start[..., 1, None]) * unit[..., 0, None]
    near = (across_x[..., None, :] - across_y[..., :, None]).abs() <= half_width
    inside = near & in_y[..., :, None] & in_x[..., None, :]  # [B, P, L, h, w]
    if not inside.shape[1]:
        fields = x.new_zeros((*start.shape[:1], start.shape[2], 2, len(y), len(x)))
        return fields, fields[:, :, 0].bool()
    if average:
        summed = torch.einsum("bplhw,bplc->blchw", inside.to(unit.dtype), unit)
        return summed / inside.sum(1).clamp_min(1)[:, :, None], inside.any(1)
    order = torch.arange(1, inside.shape[1] + 1, device=x.device, dtype=torch.int16).view(1, -1, 1, 1, 1)
    last = (inside * order).amax(1)  # [B, L, h, w], 0 off limbs
    unit_or_zero = F.pad(unit.permute(0, 2, 3, 1), (1, 0))  # [B, L, 2, P + 1]
    return unit_or_zero.gather(3, last.long().flatten(2)[:, :, None].expand(-1, -1, 2, -1)).unflatten(
        3, last.shape[2:]
    ), last > 0


def block_offsets(x: Tensor, y: Tensor, points: Tensor, labelled: Tensor, cell: int) -> Tensor:
    """Offsets from a cell's centre to the part of the nearest person, in cells, clamped to ±0.5 (Eq. 7).

    The paper's sign conflicts between Eqs. 7 and 8; this is the one that Eq. 8 undoes.

    Args:
        x: [w], abscissae of the cells' centres, pixels; ``y`` [h] likewise.
        y: [h].
        points: [B, P, N, 2], pixels.
        labelled: bool [B, P, N].
        cell: f_d, pixels.

    Returns:
        [B, N, 2, h, w]; 0 for a part that nobody has.
    """
    batch, people, count, _ = points.shape
    if not people:
        return points.new_zeros((batch, count, 2, len(y), len(x)))
    to_x, to_y = points[..., 0, None] - x, points[..., 1, None] - y  # [B, P, N, w], [B, P, N, h]
    distance = to_y.square()[..., :, None] + to_x.square()[..., None, :]
    nearest = distance.masked_fill(~labelled[..., None, None], torch.inf).argmin(1)  # [B, N, h, w]
    target = points.permute(0, 2, 3, 1).gather(3, nearest.flatten(2)[:, :, None].expand(-1, -1, 2, -1))
    target = target.unflatten(3, nearest.shape[2:])
    centre = torch.stack(torch.meshgrid(x, y, indexing="xy"))  # [2, h, w]
    return ((target - centre) / cell).clamp(-0.5, 0.5) * labelled.any(1)[..., None, None, None]  # Eq. 7


def limb_attention(
    x: Tensor, y: Tensor, start: Tensor, end: Tensor, complete: Tensor, cell: int, min_sigma: float
) -> Tensor:
    """G of Eq. 15 around limbs [B, P, L, 2], largest over people -> [B, L, h, w]."""
    gaussian = segment_gaussian(x, y[:, None], start[..., None, None, :], end[..., None, None, :], cell, min_sigma)
    return _over_people(gaussian * complete[..., None, None])


def _over_people(maps: Tensor) -> Tensor:
    """[B, P, C, h, w] -> largest over P, [B, C, h, w]; 0 without people."""
    return maps.amax(1) if maps.shape[1] else maps.new_zeros((*maps.shape[:1], *maps.shape[2:]))


def _learnt(ignore: Tensor, cell: int, grid: tuple[int, int]) -> Tensor:
    """Ignored regions bool [B, H/4, W/4] -> cells bool [B, 1, h, w] of which more than half is learnt."""
    kept = F.avg_pool2d((~ignore)[:, None].float(), cell // _IGNORE_STRIDE)
    return kept[..., : grid[0], : grid[1]] > 0.5
