"""The ceiling of the representation: ground truth through encoding and decoding, with and without block offsets.

Table III in its purest form: no network, so what is lost is lost by the grid.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, Predictions
from lightning_modules.openpose_ssal.candidates import Candidates, Grid
from lightning_modules.openpose_ssal.config import Config
from lightning_modules.openpose_ssal.decode import Scale, decode, find_candidates
from lightning_modules.openpose_ssal.parts import Parts, keypoints_to_parts
from lightning_modules.openpose_ssal.targets import encode_targets


class Localisation(Enum):
    """Where a peak is said to lie."""

    cell = "cell"
    """At its cell's centre."""
    enlarged = "enlarged"
    """At the peak of the bicubically enlarged heatmap, as OpenPose does."""
    offsets = "offsets"
    """At its cell's centre moved by the offset there (Eq. 8)."""


class Ceiling(NamedTuple):
    predictions: Predictions
    errors: Tensor
    """f32 [J]: distance of each labelled part to the nearest candidate of its kind, input pixels; inf where there is
    none."""


@torch.no_grad()
def ceiling(batch: PoseBatch, parts: Parts, config: Config, localisation: Localisation) -> Ceiling:
    """Decode the targets of a batch of whole photographs; ``config.network.downsampling`` is f_d."""
    targets = encode_targets(batch, parts, config)
    cell = torch.full((len(batch.images),), float(config.network.downsampling), device=batch.images.device)
    offsets = {
        Localisation.cell: torch.zeros_like(targets.offsets),
        Localisation.enlarged: None,
        Localisation.offsets: targets.offsets,
    }[localisation]
    scale = Scale(Grid(targets.heatmaps[:, :-1], offsets, cell), targets.pafs)
    candidates, _, _ = find_candidates([scale], batch, config.decode)
    return Ceiling(decode([scale], batch, parts, config.decode), _errors(candidates, batch, parts))


def _errors(candidates: Candidates, batch: PoseBatch, parts: Parts) -> Tensor:
    points, labelled = keypoints_to_parts(batch.persons.keypoints, batch.persons.visibility, parts)
    labelled = labelled & batch.persons.is_real[..., None]
    distance = (points[:, :, :, None] - candidates.points[:, None]).norm(dim=-1)  # [B, P, N, M]
    distance = distance.masked_fill(~candidates.is_real[:, None], torch.inf)
    nearest = distance.amin(-1) if distance.shape[-1] else torch.full(labelled.shape, torch.inf)
    return nearest[labelled]
