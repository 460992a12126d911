"""Which candidates a limb joins: scores along the field, then greedy bipartite matching (section II-A, Eqs. 3 to 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.openpose_ssal.candidates import Candidates
from lightning_modules.openpose_ssal.config import DecodeConfig
from lightning_modules.openpose_ssal.parts import Parts


def limb_scores(
    candidates: Candidates, pafs: Tensor, cell: Tensor, height: Tensor, parts: Parts, config: DecodeConfig
) -> Tensor:
    """Score of every pair of candidates that a limb may join.

    The mean of the field's component along the pair, at evenly spaced samples from one end to the other, less a penalty
    for pairs longer than half the image: mean + min(0.5·height/length − 1, 0). Eqs. 3 and 4 of the paper count samples
    by a sine, which grows with the angle; OpenPose's dot product is meant.

    Args:
        candidates: M per part, frame pixels.
        pafs: f32 [B, L, 2, h, w].
        cell: f32 [B], frame pixels per cell of ``pafs``.
        height: f32 [B], the image's height in frame pixels.
        parts: limbs.
        config: samples and thresholds.

    Returns:
        f32 [B, L, M, M], parents along the third dimension; −inf where the pair is refused: a padded candidate, both
        at one place, too few samples that agree, or a score that is not positive.
    """
    limbs = torch.tensor(parts.limbs, device=pafs.device)
    start = candidates.points[:, limbs[:, 0], :, None]
    end = candidates.points[:, limbs[:, 1], None, :]
    vector = end - start  # [B, L, M, M, 2]
    length = vector.square().sum(-1).sqrt()
    unit = vector / length.clamp_min(1e-6)[..., None]
    steps = torch.linspace(0, 1, config.paf_samples, device=pafs.device)
    points = start[..., None, :] + steps[:, None] * vector[..., None, :]
    along = (_sample(pafs, points, cell) * unit[..., None, :]).sum(-1)  # Eq. 4, as OpenPose has it
    agreement = (along > config.paf_threshold).float().mean(-1)  # Eq. 3
    penalty = (0.5 * height.view(-1, 1, 1, 1) / length.clamp_min(1e-6) - 1).clamp_max(0)
    score = along.mean(-1) + penalty
    both_real = candidates.is_real[:, limbs[:, 0], :, None] & candidates.is_real[:, limbs[:, 1], None, :]
    accepted = both_real & (length > 1e-3) & (agreement > config.paf_agreement) & (score > 0)
    return score.masked_fill(~accepted, -torch.inf)


def _sample(pafs: Tensor, points: Tensor, cell: Tensor) -> Tensor:
    """Fields [B, L, 2, h, w] at frame points [B, L, M, M, S, 2], bilinear -> [B, L, M, M, S, 2]."""
    height, width = pafs.shape[-2:]
    size = cell.view(-1, 1) * torch.tensor([width, height], device=pafs.device)
    normalised = points / size.view(-1, 1, 1, 1, 1, 2) * 2 - 1
    shape = points.shape
    flat = normalised.reshape(shape[0] * shape[1], shape[2] * shape[3], shape[4], 2)
    field = F.grid_sample(pafs.flatten(0, 1), flat, padding_mode="border", align_corners=False)
    return field.permute(0, 2, 3, 1).reshape(shape)


def greedy_matching(scores: Tensor) -> Tensor:
    """Match rows and columns, the best pair first, each row and column once (Eq. 5).

    All pairs that are the best of both their row and their column are taken at once; what is left follows. This gives
    the same matching as taking pairs one by one, in as many rounds as the longest chain of rivals.

    Args:
        scores: f32 [..., R, C], −inf where a pair is refused. Equal scores go to the first row, then column.

    Returns:
        i64 [..., R], the column matched to each row or −1.
    """
    shape = scores.shape
    left = scores.flatten(0, -3).clone() if scores.ndim > 2 else scores[None].clone()
    partner = torch.full(left.shape[:2], -1, dtype=torch.long, device=scores.device)
    if not left.numel():
        return partner.view(shape[:-1])
    rows = torch.arange(left.shape[1], device=scores.device)
    while True:
        value, column = left.max(2)
        mutual = (left.argmax(1).gather(1, column) == rows) & value.isfinite()
        if not mutual.any():
            return partner.view(shape[:-1])
        partner = torch.where(mutual, column, partner)
        taken = torch.zeros_like(left[:, 0], dtype=torch.bool).scatter_reduce_(1, column, mutual, "amax")
        left.masked_fill_(mutual[..., None] | taken[:, None], -torch.inf)
