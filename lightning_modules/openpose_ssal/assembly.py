"""People out of matched limbs: labels that travel along the tree of limbs, for all images at once (section II-A)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.openpose_ssal.candidates import Candidates
from lightning_modules.openpose_ssal.config import DecodeConfig
from lightning_modules.openpose_ssal.parts import Parts


class People(NamedTuple):
    """Up to Q people, best first."""

    points: Tensor
    """f32 [B, Q, N, 2], frame pixels; 0 for a part that was not found."""
    part_scores: Tensor
    """f32 [B, Q, N], 0 for a part that was not found."""
    scores: Tensor
    """f32 [B, Q], (sum of part and limb scores) · number of parts."""
    is_real: Tensor
    """bool [B, Q], False on padding."""


class _State(NamedTuple):
    label: Tensor
    """i64 [B, N, M + 1]: the person a candidate belongs to, named by its first candidate's flat index. The last column
    takes what must go nowhere."""
    joined: Tensor
    """bool [B, N, M + 1]: some limb has joined it to a person."""
    limb_total: Tensor
    """f32 [B, R]: sum of limb scores of each person, R = N·(M + 1)."""


def assemble(candidates: Candidates, partner: Tensor, scores: Tensor, parts: Parts, config: DecodeConfig) -> People:
    """Join matched candidates to people, as OpenPose does.

    A limb of the tree joins its second candidate to the person of its first one, or both to a new person. A closing
    limb joins two people without a part in common, or adds its second candidate to a person who lacks that part and
    whom no one else has; it never creates a person. People with fewer than ``min_parts`` parts or a mean score below
    ``min_mean_score`` are dropped.

    Args:
        candidates: M per part.
        partner: i64 [B, L, M], the candidate matched to each parent, −1 without.
        scores: f32 [B, L, M, M], of pairs.
        parts: limbs and their order.
        config: thresholds and the largest number of people.
    """
    batch, count, limit = candidates.scores.shape
    if not limit:
        empty = candidates.points.new_zeros((batch, 0, count))
        return People(empty[..., None].expand(-1, -1, -1, 2), empty, empty[..., 0], empty[..., 0].bool())
    device = scores.device
    label = torch.arange(count * (limit + 1), device=device).view(1, count, limit + 1).repeat(batch, 1, 1)
    joined = torch.zeros_like(label, dtype=torch.bool)
    state = _State(label, joined, scores.new_zeros((batch, count * (limit + 1))))
    limb_score = scores.gather(3, partner.clamp_min(0)[..., None])[..., 0]
    for limb in parts.tree:
        state = _grow(state, parts.limbs[limb], partner[:, limb], limb_score[:, limb])
    for limb in parts.closing:
        state = _close(state, parts.limbs[limb], partner[:, limb], limb_score[:, limb])
    return _people(candidates, state, config)


def _grow(state: _State, limb: tuple[int, int], partner: Tensor, score: Tensor) -> _State:
    """A limb of the tree: its second part has not been joined yet, so labels travel one way."""
    start, end = limb
    hit = partner >= 0
    target = torch.where(hit, partner, hit.shape[1])
    person = state.label[:, start, :-1]
    state.label[:, end].scatter_(1, target, person)
    state.joined[:, start, :-1] |= hit
    state.joined[:, end].scatter_(1, target, hit)
    state.joined[..., -1] = False
    state.limb_total.scatter_add_(1, person, score.masked_fill(~hit, 0))
    return state


def _close(state: _State, limb: tuple[int, int], partner: Tensor, score: Tensor) -> _State:
    """A closing limb. Pairs cannot disturb each other: whom they join have one end's part and lack the other's."""
    start, end = limb
    hit = partner >= 0
    target = torch.where(hit, partner, hit.shape[1])
    first, second = state.label[:, start, :-1], state.label[:, end].gather(1, target)
    has_first = state.joined[:, start, :-1] & hit
    has_second = state.joined[:, end].gather(1, target) & hit
    has_part = _table(state) >= 0
    count = has_part.shape[-1]
    parts_first = has_part.gather(1, first[..., None].expand(-1, -1, count))
    parts_second = has_part.gather(1, second[..., None].expand(-1, -1, count))
    merge = has_first & has_second & ~(parts_first & parts_second).any(-1)
    attach = has_first & ~has_second & ~parts_first[..., end]

    rename = torch.arange(state.limb_total.shape[1] + 1, device=first.device).repeat(len(first), 1)
    rename.scatter_(1, torch.where(merge, second, rename.shape[1] - 1), first)
    moved = state.limb_total.gather(1, second).masked_fill(~merge, 0)
    state.limb_total.scatter_add_(1, first, (score + moved).masked_fill(~(merge | attach), 0))
    label = rename.gather(1, state.label.flatten(1)).view_as(state.label)
    joined = state.joined
    label[:, end].scatter_(1, torch.where(attach, partner, hit.shape[1]), first)
    joined[:, end].scatter_(1, torch.where(attach, partner, hit.shape[1]), attach)
    joined[..., -1] = False
    return _State(label, joined, state.limb_total)


def _table(state: _State) -> Tensor:
    """Candidate of each part of each possible person: i64 [B, R, N], −1 without."""
    batch, count, columns = state.label.shape
    possible = count * columns
    part = torch.arange(count, device=state.label.device)[:, None]
    index = torch.where(state.joined, state.label * count + part, possible * count)
    table = torch.full((batch, possible * count + 1), -1, dtype=torch.long, device=state.label.device)
    column = torch.arange(columns, device=state.label.device).expand_as(state.label)
    table.scatter_(1, index.flatten(1), column.flatten(1))
    return table[:, :-1].view(batch, possible, count)


def _people(candidates: Candidates, state: _State, config: DecodeConfig) -> People:
    table = _table(state)
    found = table >= 0
    padded = F.pad(candidates.scores, (0, 1)).transpose(1, 2)  # [B, M + 1, N]
    part_scores = padded.gather(1, table.clamp_min(0)).masked_fill(~found, 0)
    count = found.sum(-1)
    total = part_scores.sum(-1) + state.limb_total
    kept = (count >= config.min_parts) & (total >= config.min_mean_score * count)
    score = (total * count).masked_fill(~kept, -torch.inf)
    score, best = score.topk(min(config.max_persons, score.shape[1]), dim=1)
    is_real = score.isfinite()
    chosen = table.gather(1, best[..., None].expand(-1, -1, table.shape[2]))
    found = (chosen >= 0) & is_real[..., None]
    points = candidates.points.transpose(1, 2)  # [B, M, N, 2]
    points = points.gather(1, chosen.clamp(0, points.shape[1] - 1)[..., None].expand(-1, -1, -1, 2))
    scores = part_scores.gather(1, best[..., None].expand(-1, -1, table.shape[2]))
    return People(
        points.masked_fill(~found[..., None], 0),
        scores.masked_fill(~found, 0),
        score.masked_fill(~is_real, 0),
        is_real,
    )
