"""The ceiling of the representation: a batch's own targets, taken for predictions, through the same decoding.

What is lost is lost by the map stride, by people who share a cell's offset, by people no location answers for, and by
suppression; Table 3's resolutions without the question of how well a network learns them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.inspose.config import Config, Nms
from lightning_modules.inspose.decode import Proposals, decode_candidates, keep_best
from lightning_modules.inspose.locations import map_shape
from lightning_modules.inspose.targets import Targets, encode_targets, keypoint_cells

PEAK = 30.0
"""Logit of the right cell over 0 elsewhere: a softmax probability of 1 on maps of any size."""


def rows(config: Config, skeleton: Skeleton) -> dict[str, Callable[[PoseBatch], Predictions]]:
    """What ``experiments.oracle`` reports: every map stride with and without disk offsets, and one unsuppressed."""
    found: dict[str, Callable[[PoseBatch], Predictions]] = {}
    for stride in (16, 8, 4, 2):
        for disk_offset in (True, False):
            name = f"1/{stride}, " + ("disk offsets" if disk_offset else "cell centres")
            found[name] = partial(ceiling, config=replace(config, map_stride=stride, disk_offset=disk_offset))
    unsuppressed = replace(config, disk_offset=True, nms=Nms.hard, nms_threshold=1.0)
    found[f"1/{config.map_stride}, disk offsets, no suppression"] = partial(ceiling, config=unsuppressed)
    return found


@torch.no_grad()
def ceiling(batch: PoseBatch, config: Config) -> Predictions:
    """People of a batch if every head says exactly what it is taught."""
    config = replace(config, heatmap=False, bbox_head=False)
    image_hw = (batch.images.shape[-2], batch.images.shape[-1])
    proposals = targets_as_proposals(encode_targets(batch, config), batch, config)
    return keep_best(decode_candidates(proposals, batch.meta, image_hw, config), batch.meta, config)


def targets_as_proposals(targets: Targets, batch: PoseBatch, config: Config) -> Proposals:
    """One proposal per person that some location answers for, with its true maps and the true disk offsets.

    A keypoint without label gets its peak in the middle of the pseudo-box, where it changes no enclosing rectangle.
    """
    image_hw = (batch.images.shape[-2], batch.images.shape[-1])
    height, width = map_shape(image_hw, config.map_stride)
    people = torch.arange(targets.is_labelled.shape[1], device=targets.cells.device)
    is_assigned = (targets.person_index.unsqueeze(1) == people[:, None]).any(dim=-1)
    middle = (targets.boxes[..., None, :2] + targets.boxes[..., None, 2:]) / 2
    middle_cell = keypoint_cells(middle, batch.meta.input_hw, config.map_stride)
    cells = torch.where(targets.is_labelled, targets.cells, middle_cell[..., 0] + width * middle_cell[..., 1])

    def maps(part: slice) -> Tensor:
        chosen = cells[:, part].unsqueeze(-1)
        empty = torch.zeros(*chosen.shape[:-1], height * width, device=cells.device)
        return empty.scatter_(-1, chosen, PEAK).unflatten(-1, (height, width))

    return Proposals(
        scores=is_assigned.to(torch.float32),
        is_valid=is_assigned,
        maps=maps,
        offsets=targets.disk_offsets,
        boxes=None,
        num_keypoints=cells.shape[-1],
    )
