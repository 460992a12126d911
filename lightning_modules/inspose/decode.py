"""From raw predictions to people (Sections 3.3 and 3.4); with ``targets`` an inverse pair.

In two steps, so that the candidates of several scales and of the mirror image meet before one suppression:
``decode_candidates`` reads the keypoint maps of one view, ``keep_best`` suppresses and keeps the best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.contracts import Meta, Predictions
from lightning_modules.inspose.config import Config, Nms
from lightning_modules.inspose.kp_net import KPNetShape, apply_kp_nets, resample
from lightning_modules.inspose.locations import cells_inside, locations, map_shape
from lightning_modules.inspose.network import Output
from lightning_modules.shared.suppression import Suppression, suppress

SUPPRESSION = {Nms.hard: Suppression.hard, Nms.soft: Suppression.soft_linear}


class Candidates(NamedTuple):
    """People before suppression, in the photographs' pixels."""

    keypoints: Tensor
    """f32 [B, Q, K, 3]: x, y, score."""
    scores: Tensor
    """f32 [B, Q]."""
    is_valid: Tensor
    """bool [B, Q]."""
    boxes: Tensor
    """f32 [B, Q, 4], x0 y0 x1 y1: detected, or around the keypoints."""


class Proposals(NamedTuple):
    """What is to be read from the maps of one view."""

    scores: Tensor
    """f32 [B, Q]."""
    is_valid: Tensor
    """bool [B, Q]."""
    maps: Callable[[slice], Tensor]
    """Part of the Q -> keypoint maps f32 [B, q, K, h, w] of ``map_stride``, logits."""
    offsets: Tensor | None
    """f32 [B, K, 2, h, w], from a cell's corner, in cells; None puts keypoints at the centres of cells."""
    boxes: Tensor | None
    """f32 [B, Q, 4], input pixels, where boxes are detected."""
    num_keypoints: int


def propose(
    output: Output, input_hw: Tensor, image_hw: tuple[int, int], config: Config, kp_net: KPNetShape
) -> Proposals:
    """The best ``max_candidates`` locations above ``score_threshold``, all levels together, padding left out."""
    grid = locations(image_hw, output.class_logits.device)
    scores = output.class_logits.float().sigmoid()
    is_inside = (grid.points < input_hw.flip(-1).unsqueeze(1)).all(dim=-1)
    scores = torch.where(is_inside & (scores > config.score_threshold), scores, 0.0)
    most = min(config.max_candidates, int((scores > 0).sum(dim=1).max()))
    scores, index = scores.topk(most, dim=1)
    points, scales = grid.points[index], grid.scales[index]

    def maps(part: slice) -> Tensor:
        chosen = index[:, part]
        parameters = output.parameters.gather(2, chosen.unsqueeze(1).expand(-1, output.parameters.shape[1], -1))
        logits = apply_kp_nets(
            output.kp_features_s8, parameters.transpose(1, 2), points[:, part], scales[:, part], kp_net
        )
        return resample(logits, config.map_stride)

    offsets = boxes = None
    if output.disk_offsets_s8 is not None:
        offsets = resample(output.disk_offsets_s8.float(), config.map_stride).unflatten(1, (-1, 2))
    if output.box_distances is not None:
        distances = output.box_distances.gather(2, index.unsqueeze(1).expand(-1, 4, -1)).transpose(1, 2)
        boxes = torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)
    return Proposals(scores, scores > 0, maps, offsets, boxes, kp_net.num_keypoints)


def decode_candidates(proposals: Proposals, meta: Meta, image_hw: tuple[int, int], config: Config) -> Candidates:
    """Read the maps of one view, in chunks, and go back to the photographs' pixels.

    Args:
        meta: of the view; its ``to_original`` leads from the view's pixels to the photographs'.
        image_hw: height and width of the view, padding included.
    """
    stride = config.map_stride
    shape = map_shape(image_hw, stride)
    is_inside = cells_inside(meta.input_hw, shape, stride)
    batch, count = proposals.scores.shape
    step = max(1, config.chunk_cells // (batch * proposals.num_keypoints * shape[0] * shape[1]))
    parts = [proposals.scores.new_zeros(batch, 0, proposals.num_keypoints, 3)]
    for start in range(0, count, step):
        maps = proposals.maps(slice(start, start + step))
        parts.append(read_keypoints(maps, is_inside, proposals.offsets, stride))
    keypoints = torch.cat(parts, dim=1)
    points = to_original(keypoints[..., :2].flatten(1, 2), meta).view_as(keypoints[..., :2])
    keypoints = torch.cat([points, keypoints[..., 2:]], dim=-1)
    if proposals.boxes is None:
        corners = points
    else:
        corners = to_original(proposals.boxes.reshape(batch, -1, 2), meta).view(batch, count, 2, 2)
    boxes = torch.cat([corners.amin(dim=2), corners.amax(dim=2)], dim=-1)
    return Candidates(keypoints, proposals.scores, proposals.is_valid, boxes)


def read_keypoints(maps: Tensor, is_inside: Tensor, offsets: Tensor | None, stride: int) -> Tensor:
    """The peak of every map as a keypoint.

    Args:
        maps: f32 [B, q, K, h, w], logits; overwritten, being the largest tensor there is.
        is_inside: bool [B, h, w]; the other cells are padding and never the peak.
        offsets: f32 [B, K, 2, h, w] in cells, from a cell's corner, or None for the cells' centres.
        stride: of the maps.

    Returns:
        f32 [B, q, K, 3]: x and y in input pixels, and the peak's softmax probability, the keypoint's score.
    """
    width = maps.shape[-1]
    flat = maps.masked_fill_(~is_inside[:, None, None], float("-inf")).flatten(3)
    peak, cell = flat.max(dim=-1, keepdim=True)  # Eq. 2
    score, cell = 1 / flat.sub_(peak).exp_().sum(dim=-1), cell.squeeze(-1)
    corner = torch.stack([cell % width, cell.div(width, rounding_mode="floor")], dim=-1)
    if offsets is None:
        return torch.cat([(corner + 0.5) * stride, score.unsqueeze(-1)], dim=-1)
    by_keypoint = cell.transpose(1, 2).unsqueeze(2).expand(-1, -1, 2, -1)
    shift = offsets.flatten(3).gather(3, by_keypoint).permute(0, 3, 1, 2)
    return torch.cat([(corner + shift) * stride, score.unsqueeze(-1)], dim=-1)  # Eq. 3


def to_original(points: Tensor, meta: Meta) -> Tensor:
    """f32 [B, n, 2], input pixels -> the photographs' pixels."""
    matrix = meta.to_original.to(points.dtype)
    return torch.einsum("bnj,bij->bni", points, matrix[..., :2]) + matrix[:, None, :, 2]


def keep_best(candidates: Candidates, meta: Meta, config: Config) -> Predictions:
    """Suppress what overlaps a better candidate, by detected boxes or by those around the keypoints."""
    kept = suppress(
        candidates.boxes,
        candidates.scores,
        candidates.is_valid,
        method=SUPPRESSION[config.nms],
        threshold=config.nms_threshold,
        max_out=config.max_detections,
        min_score=config.min_score if config.nms is Nms.soft else 0.0,
    )
    index = kept.indices[..., None, None].expand(-1, -1, *candidates.keypoints.shape[2:])
    boxes = candidates.boxes.gather(1, kept.indices.unsqueeze(-1).expand(-1, -1, 4)) if config.bbox_head else None
    return Predictions(
        keypoints=candidates.keypoints.gather(1, index),
        scores=kept.scores,
        is_valid=kept.is_valid,
        sample_id=meta.sample_id,
        image_id=meta.image_id,
        boxes=boxes,
    )
