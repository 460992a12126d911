"""Training targets of InsPose, made from a batch on its device: assignment, keypoint cells, disk offsets, heatmap."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.contracts import Persons, PoseBatch
from lightning_modules.inspose.assignment import assign, ignored_locations, pseudo_boxes
from lightning_modules.inspose.config import Config
from lightning_modules.inspose.locations import FEATURE_STRIDE, cells_inside, level_shapes, locations, map_shape
from lightning_modules.shared.gaussians import draw_gaussians, gaussian_radius, window_cells


class Targets(NamedTuple):
    """What the heads should say. L runs over the cells of P3 to P7, maps h × w have ``map_stride``."""

    person_index: Tensor
    """i64 [B, L], the person a location answers for, -1 for none."""
    is_learnt: Tensor
    """bool [B, L], False in padding and, unless positive, in ignored regions."""
    cells: Tensor
    """i64 [B, P, K], row-major index of the map cell that holds a keypoint."""
    is_labelled: Tensor
    """bool [B, P, K]; hidden keypoints (visibility 1) count."""
    is_inside: Tensor
    """bool [B, h, w], map cells that are not padding."""
    disk_offsets: Tensor | None
    """f32 [B, K, 2, h, w], from a cell's corner to the nearest keypoint, in cells; None without disk offsets."""
    disk_mask: Tensor | None
    """bool [B, K, h, w], where a disk supervises them."""
    heatmap_s8: Tensor | None
    """f32 [B, K, h8, w8] in [0, 1]; None without the auxiliary heatmap."""
    heatmap_mask_s8: Tensor | None
    """bool [B, K, h8, w8], False in padding and, unless a keypoint's cell, in ignored regions."""
    boxes: Tensor
    """f32 [B, P, 4], the boxes locations were assigned by, input pixels."""


@torch.no_grad()
def encode_targets(batch: PoseBatch, config: Config) -> Targets:
    """Targets of a batch; nothing leaves the device and no shape depends on the people shown.

    People without labelled keypoints are nobody's positive, unless boxes are detected too: then they are positive for
    class and box. A batch without people has no positive and an empty mask everywhere.
    """
    image_hw = (batch.images.shape[-2], batch.images.shape[-1])
    persons = _at_least_one(batch.persons)
    input_hw = batch.meta.input_hw
    is_labelled = (persons.visibility > 0) & persons.is_real.unsqueeze(-1)
    keypoints = persons.keypoints.float()
    boxes = pseudo_boxes(keypoints, is_labelled, config.min_box_size)
    is_person = is_labelled.any(dim=-1)
    sizes = boxes[..., 2:] - boxes[..., :2]
    if config.bbox_head:
        # choice: one assignment for all heads, by annotated boxes where they are detected (Table 4)
        boxes, is_person = persons.boxes.float(), persons.is_real

    grid = locations(image_hw, keypoints.device)
    person_index = assign(boxes, is_person, grid, config.center_radius, config.size_limits)
    is_learnt = (grid.points < input_hw.flip(-1).unsqueeze(1)).all(dim=-1)
    if config.ignore_regions:
        is_learnt = is_learnt & ~ignored_locations(batch.ignore, level_shapes(image_hw))
    shape, stride = map_shape(image_hw, config.map_stride), config.map_stride
    cells = keypoint_cells(keypoints, input_hw, stride)
    targets = Targets(
        person_index=person_index,
        is_learnt=is_learnt | (person_index >= 0),
        cells=cells[..., 0] + shape[1] * cells[..., 1],
        is_labelled=is_labelled,
        is_inside=cells_inside(input_hw, shape, stride),
        disk_offsets=None,
        disk_mask=None,
        heatmap_s8=None,
        heatmap_mask_s8=None,
        boxes=boxes,
    )
    if config.disk_offset:
        offsets, mask = disk_offsets(
            keypoints / stride, cells, is_labelled, radii(sizes / stride, config), shape, config
        )
        targets = targets._replace(disk_offsets=offsets, disk_mask=mask)
    if config.heatmap:
        heatmap_cells = keypoint_cells(keypoints, input_hw, FEATURE_STRIDE)
        feature_radii = radii(sizes / FEATURE_STRIDE, config)
        feature_hw = level_shapes(image_hw)[0]
        heatmap = draw_gaussians(heatmap_cells, feature_radii, is_labelled, feature_hw, config.max_radius)
        learnt = is_learnt[:, : feature_hw[0] * feature_hw[1]].view(-1, 1, *feature_hw)
        targets = targets._replace(heatmap_s8=heatmap, heatmap_mask_s8=learnt | (heatmap == 1))
    return targets


def keypoint_cells(keypoints: Tensor, input_hw: Tensor, stride: int) -> Tensor:
    """i64 [..., 2], cell x and y that hold a keypoint; one on the right or lower border falls into the last cell.

    Args:
        keypoints: f32 [B, P, K, 2], input pixels.
        input_hw: i64 [B, 2].
    """
    last = (input_hw.flip(-1) - 1).div(stride, rounding_mode="floor").clamp(min=0)
    cells = keypoints.div(stride).floor().to(torch.int64)
    return torch.minimum(cells.clamp(min=0), last[:, None, None])


def radii(sizes: Tensor, config: Config) -> Tensor:
    """f32 [B, P], whole cells: radius of a person's disks and Gaussians.

    Args:
        sizes: f32 [B, P, 2], width and height of the pseudo-box, cells.
    """
    # choice: the paper gives no radius; CornerNet's, floored and clamped, as the released code
    radius = gaussian_radius(sizes[..., 0], sizes[..., 1], config.gaussian_overlap)
    return radius.floor().clamp(0, config.max_radius)


def disk_offsets(
    positions: Tensor, cells: Tensor, is_labelled: Tensor, radius: Tensor, map_hw: tuple[int, int], config: Config
) -> tuple[Tensor, Tensor]:
    """Offsets in the disk around every keypoint (Section 3.3); where disks meet, the nearest keypoint has the cell.

    A cell belongs to a disk if its centre is at most ``radius`` from the keypoint.

    Args:
        positions: f32 [B, P, K, 2], cells.
        cells: i64 [B, P, K, 2], the cell that holds each.
        is_labelled: bool [B, P, K].
        radius: f32 [B, P], cells.
        map_hw: h and w, cells.

    Returns:
        Offsets from a cell's corner to the keypoint, f32 [B, K, 2, h, w], zero outside of disks, and where they are,
        bool [B, K, h, w].
    """
    batch, persons, keypoints = is_labelled.shape
    height, width = map_hw
    steps, index, fits = window_cells(cells, config.max_radius, map_hw)
    centers = cells.unsqueeze(-2) + steps + 0.5
    distance = ((centers - positions.unsqueeze(-2)) ** 2).sum(dim=-1)
    in_disk = distance <= radius[:, :, None, None] ** 2
    if config.disk_keeps_cell:
        in_disk = in_disk | (steps == 0).all(dim=-1)
    in_disk = in_disk & fits & is_labelled.unsqueeze(-1)
    # One integer per candidate, distance first, person second: the smallest wins, the same on every device.
    nobody = torch.iinfo(torch.int64).max
    person = torch.arange(persons, device=cells.device)[:, None, None]
    key = (distance.clamp(max=2.0**20) * 2.0**20).to(torch.int64) * persons + person
    key = torch.where(in_disk, key, nobody).transpose(1, 2).flatten(2)
    winner = torch.full((batch, keypoints, height * width), nobody, device=cells.device)
    winner.scatter_reduce_(2, index.transpose(1, 2).flatten(2), key, reduce="amin")
    mask = winner != nobody
    person = torch.where(mask, winner % persons, 0).unsqueeze(-1).expand(-1, -1, -1, 2)
    nearest = positions.transpose(1, 2).gather(2, person)
    place = torch.arange(height * width, device=cells.device)
    corner = torch.stack([place % width, place // width], dim=-1)
    offsets = torch.where(mask.unsqueeze(-1), nearest - corner, 0.0).transpose(2, 3)
    return offsets.unflatten(-1, map_hw), mask.unflatten(-1, map_hw)


def _at_least_one(persons: Persons) -> Persons:
    """P >= 1: an unreal person where the batch has none."""
    if persons.is_real.shape[1]:
        return persons
    pads = {"keypoints": (0, 0, 0, 0, 0, 1), "visibility": (0, 0, 0, 1), "boxes": (0, 0, 0, 1)}
    return Persons(**{name: F.pad(value, pads.get(name, (0, 1))) for name, value in persons._asdict().items()})
