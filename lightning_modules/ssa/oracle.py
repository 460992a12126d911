"""The ceiling of the representation: true heatmaps and ideal attention through decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.ssa.config import Config, Grouping
from lightning_modules.ssa.decode import Decoder, to_predictions
from lightning_modules.ssa.peaks import find_peaks
from lightning_modules.ssa.targets import encode_targets, ideal_rows, token_cells


def rows(config: Config, skeleton: Skeleton) -> dict[str, Callable[[PoseBatch], Predictions]]:
    """What ``experiments.oracle`` reports: both groupings at stride 16 and 8."""
    found: dict[str, Callable[[PoseBatch], Predictions]] = {}
    for stride in (16, 8):
        for grouping in Grouping:
            changed = replace(config, stride=stride, decode=replace(config.decode, grouping=grouping))
            name = f"stride {stride}, {grouping.value.replace('_', '-')}"
            found[name] = partial(ceiling, config=changed, skeleton=skeleton)
    return found


@torch.no_grad()
def ceiling(batch: PoseBatch, config: Config, skeleton: Skeleton) -> Predictions:
    """What decoding makes of a batch if the network says exactly what it was taught, at ``config.stride``.

    Args:
        batch: with ``instance_masks``, sides multiples of the stride.

    Raises:
        ValueError: the batch has no instance masks.
    """
    height, width = batch.images.shape[2:]
    grid = (height // config.stride, width // config.stride)
    targets = encode_targets(batch, grid=grid, sigma=config.sigma)
    peaks = find_peaks(
        targets.heatmap_s4,
        window=config.decode.nms_window,
        threshold=config.decode.candidate_threshold,
        max_candidates=config.decode.max_candidates,
    )
    cells = token_cells(peaks.points, grid, (height, width))
    people = Decoder(config.decode, skeleton).people_of(peaks, cells, ideal_rows(targets, cells.flatten(1), grid), grid)
    return to_predictions(people, batch.meta, (height, width), config.decode)
