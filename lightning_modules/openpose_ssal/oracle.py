"""The ceiling of the representation: ground truth through encoding and decoding, with and without block offsets.

Table III in its purest form: no network, so what is lost is lost by the grid, by people who share a cell and by limbs
shorter than one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Any

import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.openpose_ssal.candidates import Grid
from lightning_modules.openpose_ssal.config import Config
from lightning_modules.openpose_ssal.decode import Scale, decode, find_candidates
from lightning_modules.openpose_ssal.parts import Parts, keypoints_to_parts, parts_of
from lightning_modules.openpose_ssal.targets import encode_targets


class Localisation(Enum):
    """Where a peak is said to lie."""

    cell = "cell centres"
    enlarged = "enlarged heatmaps"
    """At the peak of the bicubically enlarged heatmap, as OpenPose does."""
    offsets = "block offsets"
    """At its cell's centre moved by the offset there (Eq. 8)."""


def rows(config: Config, skeleton: Skeleton) -> dict[str, Callable[[PoseBatch], Predictions]]:
    """What ``experiments.oracle`` reports: every downsampling factor with every way to place a peak."""
    return {name: partial(ceiling, **variant) for name, variant in _variants(config, skeleton).items()}


def joint_errors(config: Config, skeleton: Skeleton) -> dict[str, Callable[[PoseBatch], Tensor]]:
    """For the same rows, how far joints lie from their peaks; assembly has no part in it."""
    return {name: partial(peak_distances, **variant) for name, variant in _variants(config, skeleton).items()}


def _variants(config: Config, skeleton: Skeleton) -> dict[str, dict[str, Any]]:
    parts = parts_of(skeleton)
    return {
        f"f_d = {downsampling}, {localisation.value}": {
            "parts": parts,
            "config": replace(config, network=replace(config.network, downsampling=downsampling)),
            "localisation": localisation,
        }
        for downsampling in (8, 16, 32)
        for localisation in Localisation
    }


@torch.no_grad()
def ceiling(batch: PoseBatch, parts: Parts, config: Config, localisation: Localisation) -> Predictions:
    """Decode the targets of a batch at one scale; ``config.network.downsampling`` is f_d.

    Of a batch whose sides are no multiples of f_d, what lies beyond the last whole cell is lost.
    """
    return decode([_true_scale(batch, parts, config, localisation)], batch, parts, config.decode)


@torch.no_grad()
def peak_distances(batch: PoseBatch, parts: Parts, config: Config, localisation: Localisation) -> Tensor:
    """Distances f32 [n] of labelled joints from the nearest peak of their part, pixels of the input.

    A joint without a peak within a cell's diagonal shares the peak of somebody else's and is left out, and so is one
    beyond the last whole cell. The neck, which is no keypoint, is left out too.
    """
    cell = config.network.downsampling
    candidates, _, _ = find_candidates([_true_scale(batch, parts, config, localisation)], batch, config.decode)
    points, labelled = keypoints_to_parts(batch.persons.keypoints.float(), batch.persons.visibility, parts)
    labelled = labelled & batch.persons.is_real[..., None] & (torch.tensor(parts.keypoints) >= 0).to(labelled.device)
    whole = torch.tensor([side // cell * cell for side in batch.images.shape[:1:-1]], device=points.device)
    labelled = labelled & ((points >= 0) & (points < whole)).all(-1)
    distance = (points[:, :, :, None] - candidates.points[:, None]).norm(dim=-1)
    distance = distance.masked_fill(~candidates.is_real[:, None], torch.inf)
    if not distance.shape[-1]:
        return points.new_zeros(0)
    nearest = distance.amin(-1)
    return nearest[labelled & (nearest < cell * 2**0.5)]


def _true_scale(batch: PoseBatch, parts: Parts, config: Config, localisation: Localisation) -> Scale:
    targets = encode_targets(batch, parts, config)
    offsets = {
        Localisation.cell: torch.zeros_like(targets.offsets),
        Localisation.enlarged: None,
        Localisation.offsets: targets.offsets,
    }[localisation]
    cell = torch.full((len(batch.images),), float(config.network.downsampling), device=batch.images.device)
    return Scale(Grid(targets.heatmaps[:, :-1], offsets, cell), targets.pafs)
