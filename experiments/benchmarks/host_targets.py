"""Every paper's targets as most repositories make them: in numpy, on the host, person by person and joint by joint.

What depends on the people alone (which location answers for whom, where the keypoints lie) is taken from the paper's
own encoder, on the host; what is drawn is drawn here, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from datamodules.contracts import Persons, PoseBatch
from lightning_modules.graph_pcnn import targets as graph_pcnn_targets
from lightning_modules.graph_pcnn.config import GaussianCenter
from lightning_modules.inspose import targets as inspose_targets
from lightning_modules.inspose.assignment import ignored_locations, pseudo_boxes
from lightning_modules.inspose.config import Config as InsPoseConfig
from lightning_modules.inspose.locations import FEATURE_STRIDE, level_shapes, locations, map_shape
from lightning_modules.openpose_ssal import targets as openpose_targets
from lightning_modules.openpose_ssal.config import Config as OpenPoseConfig
from lightning_modules.openpose_ssal.config import PafOverlap
from lightning_modules.openpose_ssal.parts import Parts, keypoints_to_parts
from lightning_modules.ssa import targets as ssa_targets
from lightning_modules.ssa.network import HEATMAP_STRIDE
from lightning_modules.ssn import targets as ssn_targets

IGNORE_STRIDE = 4
REFERENCE_CELL = 8
"""Of OpenPose: its widths are pixels at this stride, and grow with the cell."""
Map = NDArray[np.float32]
Hw = tuple[int, int]


def paste(heatmap: Map, center: NDArray[Any], sigma: float, reach: float) -> None:
    """A Gaussian into ``heatmap`` [h, w] around cell x, y, up to ``reach`` cells along each axis; the larger stays."""
    (x, y), (height, width) = center, heatmap.shape
    left, right = max(0, int(np.ceil(x - reach))), min(width, int(np.floor(x + reach)) + 1)
    top, bottom = max(0, int(np.ceil(y - reach))), min(height, int(np.floor(y + reach)) + 1)
    if left >= right or top >= bottom:
        return
    squared = (np.arange(left, right) - x) ** 2 + ((np.arange(top, bottom) - y) ** 2)[:, None]
    window = heatmap[top:bottom, left:right]
    np.maximum(window, np.exp(-squared / (2 * sigma**2)), out=window, casting="same_kind")


def ssn(persons: Persons, map_hw: Hw, sigma: float) -> ssn_targets.Targets:
    """Gaussians end at three sigmas, as SimpleBaseline's."""
    labelled = ((persons.visibility[:, 0] > 0) & persons.is_real[:, :1]).numpy()
    cells = ssn_targets.to_cells(persons.keypoints[:, 0].float()).numpy()
    heatmaps = np.zeros((*labelled.shape, *map_hw), np.float32)
    for crop, joint in np.argwhere(labelled):
        paste(heatmaps[crop, joint], cells[crop, joint], sigma, 3 * sigma)
    return ssn_targets.Targets(torch.from_numpy(heatmaps), torch.from_numpy(labelled.astype(np.float32)))


def graph_pcnn(persons: Persons, map_hw: Hw, sigma: float, center: GaussianCenter) -> graph_pcnn_targets.Targets:
    labelled = ((persons.visibility[:, 0] > 0) & persons.is_real[:, :1]).numpy()
    position = (persons.keypoints[:, 0].float() / graph_pcnn_targets.STRIDE).numpy()
    mean = np.floor(position + 0.5) if center is GaussianCenter.rounded else position
    heatmaps = np.zeros((*labelled.shape, *map_hw), np.float32)
    for crop, joint in np.argwhere(labelled):
        paste(heatmaps[crop, joint], mean[crop, joint], sigma, 3 * sigma)
    weight = labelled.astype(np.float32)
    return graph_pcnn_targets.Targets(*map(torch.from_numpy, (heatmaps, position * labelled[..., None], weight)))


def ssa(batch: PoseBatch, *, grid: Hw, sigma: float) -> ssa_targets.Targets:
    height, width = batch.images.shape[2:]
    keypoints = batch.persons.keypoints
    labelled = (batch.persons.visibility > 0) & batch.persons.is_real[..., None]
    cells = np.floor(keypoints.numpy() / HEATMAP_STRIDE)
    shape = (len(keypoints), keypoints.shape[2], height // HEATMAP_STRIDE, width // HEATMAP_STRIDE)
    heatmaps = np.zeros(shape, np.float32)
    for image, person, joint in np.argwhere(labelled.numpy()):
        paste(heatmaps[image, joint], cells[image, person, joint], sigma, int(3 * sigma + 1))
    assert batch.instance_masks is not None
    tokens = ssa_targets.token_cells(keypoints, grid, (height, width)).masked_fill(~labelled, 0)
    return ssa_targets.Targets(torch.from_numpy(heatmaps), batch.ignore, tokens, labelled, batch.instance_masks)


def inspose(batch: PoseBatch, config: InsPoseConfig) -> inspose_targets.Targets:
    """The assignment is the paper's own on the host; disks and heatmaps are drawn."""
    targets = inspose_targets.encode_targets(batch, replace(config, disk_offset=False, heatmap=False))
    labelled, keypoints, image_hw = targets.is_labelled, batch.persons.keypoints.float(), batch.images.shape[2:]
    if not labelled.any():
        return inspose_targets.encode_targets(batch, config)
    boxes = pseudo_boxes(keypoints, labelled, config.min_box_size)
    sizes, input_hw = boxes[..., 2:] - boxes[..., :2], batch.meta.input_hw
    people = np.argwhere(labelled.numpy())
    if config.disk_offset:
        cells = inspose_targets.keypoint_cells(keypoints, input_hw, config.map_stride).numpy()
        radii = inspose_targets.radii(sizes / config.map_stride, config).numpy()
        shape = map_shape((image_hw[0], image_hw[1]), config.map_stride)
        disks = _Disks((len(keypoints), keypoints.shape[2]), shape, keeps_cell=config.disk_keeps_cell)
        for image, person, joint in people:
            place = keypoints[image, person, joint].numpy() / config.map_stride
            disks.draw((image, joint), place, cells[image, person, joint], radii[image, person])
        targets = targets._replace(disk_offsets=torch.from_numpy(disks.offsets), disk_mask=torch.from_numpy(disks.mask))
    if config.heatmap:
        cells = inspose_targets.keypoint_cells(keypoints, input_hw, FEATURE_STRIDE).numpy()
        radii = inspose_targets.radii(sizes / FEATURE_STRIDE, config).numpy()
        height, width = level_shapes((image_hw[0], image_hw[1]))[0]
        heatmaps = np.zeros((len(keypoints), keypoints.shape[2], height, width), np.float32)
        for image, person, joint in people:
            radius = radii[image, person]
            paste(heatmaps[image, joint], cells[image, person, joint], (2 * radius + 1) / 6, radius)
        drawn = torch.from_numpy(heatmaps)
        learnt = _learnt(batch, config)[:, : height * width].view(-1, 1, height, width)
        targets = targets._replace(heatmap_s8=drawn, heatmap_mask_s8=learnt | (drawn == 1))
    return targets


def _learnt(batch: PoseBatch, config: InsPoseConfig) -> Tensor:
    """bool [B, L], as the encoder's before it adds the positive locations."""
    image_hw = (batch.images.shape[2], batch.images.shape[3])
    points = locations(image_hw, torch.device("cpu")).points
    learnt = (points < batch.meta.input_hw.flip(-1).unsqueeze(1)).all(dim=-1)
    if config.ignore_regions:
        learnt = learnt & ~ignored_locations(batch.ignore, level_shapes(image_hw))
    return learnt


class _Disks:
    """Offset maps [B, K, 2, h, w] in which the nearest keypoint has the cell."""

    def __init__(self, leading: tuple[int, int], map_hw: Hw, *, keeps_cell: bool) -> None:
        self.offsets = np.zeros((*leading, 2, *map_hw), np.float32)
        self.mask = np.zeros((*leading, *map_hw), bool)
        self.distance = np.full((*leading, *map_hw), np.inf, np.float32)
        self.keeps_cell = keeps_cell

    def draw(self, where: tuple[int, int], place: NDArray[Any], cell: NDArray[Any], radius: float) -> None:
        """One keypoint at ``place``, cells, in ``cell``."""
        height, width = self.mask.shape[-2:]
        reach = int(radius) + 1
        rows = np.arange(max(0, cell[1] - reach), min(height, cell[1] + reach + 1))[:, None]
        columns = np.arange(max(0, cell[0] - reach), min(width, cell[0] + reach + 1))
        squared = (columns + 0.5 - place[0]) ** 2 + (rows + 0.5 - place[1]) ** 2
        inside = squared <= radius**2
        if self.keeps_cell:
            inside |= (columns == cell[0]) & (rows == cell[1])
        window = (*where, slice(rows[0, 0], rows[-1, 0] + 1), slice(columns[0], columns[-1] + 1))
        nearer = inside & (squared < self.distance[window])
        self.distance[window][nearer] = squared[nearer]
        self.mask[window] |= nearer
        offsets = self.offsets[where]
        for axis, corner in enumerate(np.broadcast_arrays(columns, rows)):
            offsets[axis][window[2:]][nearer] = (place[axis] - corner)[nearer]


def openpose_ssal(batch: PoseBatch, parts: Parts, config: OpenPoseConfig) -> openpose_targets.Targets:
    cell = config.network.downsampling
    height, width = (side // cell for side in batch.images.shape[-2:])
    found, seen = keypoints_to_parts(batch.persons.keypoints.float(), batch.persons.visibility, parts)
    points, labelled = found.numpy() / cell - 0.5, (seen & batch.persons.is_real[..., None]).numpy()
    images, people, count = labelled.shape
    sigma, half_width = config.sigma / REFERENCE_CELL, config.paf_half_width / REFERENCE_CELL
    heatmaps = np.zeros((images, count, height, width), np.float32)
    offsets = np.zeros((images, count, 2, height, width), np.float32)
    nearest = np.full((images, count, height, width), np.inf, np.float32)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    for image, person, part in np.argwhere(labelled):
        x, y = points[image, person, part]
        squared = (columns - x) ** 2 + (rows - y) ** 2
        np.maximum(heatmaps[image, part], np.exp(-squared / (2 * sigma**2)), out=heatmaps[image, part])
        is_nearer = squared < nearest[image, part]
        nearest[image, part][is_nearer] = squared[is_nearer]
        for axis, steps in enumerate((x - columns, y - rows)):
            offsets[image, part, axis][is_nearer] = np.clip(steps, -0.5, 0.5)[is_nearer]
    fields = np.zeros((images, len(parts.limbs), 2, height, width), np.float32)
    covered = np.zeros((images, len(parts.limbs), height, width), np.float32)
    attention = np.zeros_like(covered)
    for image, person in np.ndindex(images, people):
        for limb, ends in enumerate(parts.limbs):
            if not labelled[image, person, list(ends)].all():
                continue
            start, end = points[image, person, list(ends)]
            near, along = _segment_gaussian(columns, rows, start, end, config.salm_min_sigma), end - start
            np.maximum(attention[image, limb], near, out=attention[image, limb])
            length = float(np.sqrt((along**2).sum()))
            if length * cell <= 1e-3:
                continue
            unit = along / length
            across = np.abs((columns - start[0]) * unit[1] - (rows - start[1]) * unit[0])
            low, high = np.minimum(start, end) - half_width, np.maximum(start, end) + half_width
            is_on = (across <= half_width) & (columns >= low[0]) & (columns <= high[0])
            is_on &= (rows >= low[1]) & (rows <= high[1])
            if config.paf_overlap is PafOverlap.average:
                fields[image, limb] += unit[:, None, None] * is_on
                covered[image, limb] += is_on
            else:
                fields[image, limb] = np.where(is_on, unit[:, None, None], fields[image, limb])
                covered[image, limb] = np.maximum(covered[image, limb], is_on)
    fields /= np.maximum(covered, 1)[:, :, None]
    heatmaps = np.concatenate([heatmaps, 1 - heatmaps.max(1, keepdims=True)], axis=1)
    drawn = [torch.from_numpy(made) for made in (heatmaps, fields, covered > 0, offsets, attention)]
    kept = functional.avg_pool2d((~batch.ignore)[:, None].float(), cell // IGNORE_STRIDE)
    return openpose_targets.Targets._make([*drawn, kept[..., :height, :width] > 0.5])


def _segment_gaussian(columns: Map, rows: Map, start: NDArray[Any], end: NDArray[Any], min_sigma: float) -> Map:
    """Eq. 15 around one limb; all in cells."""
    along = end - start
    squared_length = max(float((along**2).sum()), float(np.finfo(np.float32).tiny))
    x, y = columns - start[0], rows - start[1]
    position = np.clip((x * along[0] + y * along[1]) / squared_length, 0, 1)
    squared = (x - position * along[0]) ** 2 + (y - position * along[1]) ** 2
    sigma = max(float(np.sqrt((along**2).sum())) / 4, min_sigma)  # Eq. 16
    drawn: Map = np.exp(-squared / sigma**2)
    return drawn


ENCODERS: dict[str, Callable[..., Any]] = {
    "graph_pcnn": graph_pcnn,
    "inspose": inspose,
    "openpose_ssal": openpose_ssal,
    "ssa": ssa,
    "ssn": ssn,
}
"""By paper, with the arguments of its ``encode_targets``, all on the host."""
