"""The ceiling of the representation: ground truth through encoding and decoding, with and without block offsets.

Table III in its purest form: no network, so what is lost is lost by the grid, by people who share a cell and by limbs
shorter than one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import partial

import torch

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.openpose_ssal.candidates import Grid
from lightning_modules.openpose_ssal.config import Config
from lightning_modules.openpose_ssal.decode import Scale, decode
from lightning_modules.openpose_ssal.parts import Parts, parts_of
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
    parts = parts_of(skeleton)
    found: dict[str, Callable[[PoseBatch], Predictions]] = {}
    for downsampling in (8, 16, 32):
        changed = replace(config, network=replace(config.network, downsampling=downsampling))
        for localisation in Localisation:
            name = f"f_d = {downsampling}, {localisation.value}"
            found[name] = partial(ceiling, parts=parts, config=changed, localisation=localisation)
    return found


@torch.no_grad()
def ceiling(batch: PoseBatch, parts: Parts, config: Config, localisation: Localisation) -> Predictions:
    """Decode the targets of a batch at one scale; ``config.network.downsampling`` is f_d.

    Of a batch whose sides are no multiples of f_d, what lies beyond the last whole cell is lost.
    """
    targets = encode_targets(batch, parts, config)
    offsets = {
        Localisation.cell: torch.zeros_like(targets.offsets),
        Localisation.enlarged: None,
        Localisation.offsets: targets.offsets,
    }[localisation]
    cell = torch.full((len(batch.images),), float(config.network.downsampling), device=batch.images.device)
    scale = Scale(Grid(targets.heatmaps[:, :-1], offsets, cell), targets.pafs)
    return decode([scale], batch, parts, config.decode)
