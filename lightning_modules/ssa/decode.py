"""Output -> people: candidates and their attention on the device, grouping and merging on the CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.contracts import Meta, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.ssa.attention import attention_rows
from lightning_modules.ssa.config import Association, DecodeConfig, Grouping, Matching
from lightning_modules.ssa.grouping import Candidates, body_first, part_first, part_order, search_paths
from lightning_modules.ssa.instances import merge_overlapping
from lightning_modules.ssa.network import HEATMAP_STRIDE, Output
from lightning_modules.ssa.peaks import Peaks, find_peaks
from lightning_modules.ssa.targets import token_cells


class People(NamedTuple):
    """The people of one image in input pixels, best first."""

    keypoints: Tensor
    """f32 [m, K, 3], x, y, score; 0 for joints that were not found."""
    scores: Tensor
    """f32 [m]."""
    attention: Tensor
    """f32 [m, h, w], normalised to a maximum of 1, over the token grid."""


class Decoder:
    """Sections 2.4 and 2.5, without refinement.

    Args:
        config: thresholds and switches.
        skeleton: gives the order of the joints and the kinematic graph.
    """

    def __init__(self, config: DecodeConfig, skeleton: Skeleton) -> None:
        self.config = config
        self.order = part_order(skeleton)
        self.paths = search_paths(skeleton)

    @torch.no_grad()
    def __call__(self, output: Output, input_hw: Tensor) -> list[People]:
        """People of every image, at most ``max_persons``; none gives empty tensors.

        Args:
            input_hw: i64 [B, 2], ``Meta.input_hw``: nobody is sought in the padding beyond it.
        """
        peaks = find_peaks(
            output.heatmap_s4,
            window=self.config.nms_window,
            threshold=self.config.candidate_threshold,
            max_candidates=self.config.max_candidates,
            is_inside=_cells_inside(input_hw, output.heatmap_s4),
        )
        layers = output.layers if self.config.association is Association.naive else (output.supervised,)
        cells = token_cells(peaks.points, output.grid, _input_hw(output.heatmap_s4))
        return self.people_of(peaks, cells, attention_rows(layers, cells.flatten(1)), output.grid)

    def people_of(self, peaks: Peaks, cells: Tensor, rows: Tensor, grid: tuple[int, int]) -> list[People]:
        """The same from candidates, their token ``cells`` i64 [B, K, M] and attention ``rows`` f32 [B, K·M, L]."""
        device = rows.device
        joints, scores = _joint_types(peaks.scores), peaks.scores.flatten(1)
        on_host = [part.cpu().numpy() for part in (scores, peaks.points.flatten(1, 2), rows, cells.flatten(1))]
        return [
            self._group(joints, *(part[image] for part in on_host), grid=grid, device=device)
            for image in range(len(scores))
        ]

    def _group(
        self,
        joints: np.ndarray,
        scores: np.ndarray,
        points: np.ndarray,
        rows: np.ndarray,
        cells: np.ndarray,
        *,
        grid: tuple[int, int],
        device: torch.device,
    ) -> People:
        kept = np.flatnonzero(scores > 0)
        scores, rows = scores[kept].astype(np.float64), rows[kept]
        candidates = Candidates(joints[kept], scores, rows[:, cells[kept]].astype(np.float64))
        merged = merge_overlapping(
            self._assign(candidates),
            scores,
            rows,
            mask_threshold=self.config.mask_threshold,
            overlap=self.config.merge_overlap,
        )
        best = slice(self.config.max_persons)
        people = merged.people[best]
        is_found = people >= 0
        keypoints = np.zeros((*people.shape, 3), dtype=np.float32)
        keypoints[is_found, :2] = points[kept][people[is_found]]
        keypoints[is_found, 2] = scores[people[is_found]]
        return People(
            torch.from_numpy(keypoints).to(device),
            torch.from_numpy(merged.scores[best].astype(np.float32)).to(device),
            torch.from_numpy(merged.attention[best].reshape(-1, *grid)).to(device),
        )

    def _assign(self, candidates: Candidates) -> np.ndarray:
        threshold = self.config.attraction_threshold
        if self.config.grouping is Grouping.body_first:
            return body_first(candidates, self.paths, threshold=threshold)
        scored = self.config.matching is Matching.scored
        return part_first(candidates, self.order, threshold=threshold, scored=scored)


def to_predictions(people: list[People], meta: Meta, input_hw: tuple[int, int], config: DecodeConfig) -> Predictions:
    """People of a batch in the photographs' pixels, padded to the largest number, with masks where asked for.

    Joints that were not found have coordinates and score 0.
    """
    count = max((len(person.scores) for person in people), default=0)
    keypoints = torch.stack([F.pad(p.keypoints, (0, 0, 0, 0, 0, count - len(p.scores))) for p in people])
    scores = torch.stack([F.pad(p.scores, (0, count - len(p.scores))) for p in people])
    is_valid = torch.stack([torch.arange(count, device=scores.device) < len(p.scores) for p in people])
    matrix = meta.to_original[:, None, None]
    points = (matrix[..., :2] @ keypoints[..., :2, None])[..., 0] + matrix[..., 2]
    is_found = keypoints[..., 2:] > 0
    return Predictions(
        keypoints=torch.cat([torch.where(is_found, points, 0.0), keypoints[..., 2:]], dim=3),
        scores=scores,
        is_valid=is_valid,
        sample_id=meta.sample_id,
        image_id=meta.image_id,
        masks=_masks_of_batch(people, meta, input_hw, config.mask_threshold) if config.masks else None,
    )


def _masks_of_batch(
    people: list[People], meta: Meta, input_hw: tuple[int, int], threshold: float
) -> tuple[tuple[Tensor, ...], ...]:
    sizes = meta.original_hw.tolist()
    return tuple(
        photograph_masks(p.attention, matrix, input_hw, (size[0], size[1]), threshold)
        for p, matrix, size in zip(people, meta.to_original, sizes, strict=True)
    )


def photograph_masks(
    attention: Tensor, to_original: Tensor, input_hw: tuple[int, int], original_hw: tuple[int, int], threshold: float
) -> tuple[Tensor, ...]:
    """Normalised attention, interpolated bilinearly to the photograph, then compared with ``threshold``.

    choice: the paper interpolates the thresholded mask; thresholding last keeps the outline between cells.

    Args:
        attention: f32 [m, h, w] over an input of ``input_hw`` pixels, padding included.
        to_original: f32 [2, 3], input pixels -> photograph pixels.

    Returns:
        m masks, bool ``original_hw``.
    """
    last_row = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64, device=to_original.device)
    to_input = torch.linalg.inv(torch.cat([to_original.double(), last_row]))
    photograph = _from_unit(*original_hw).to(to_input)
    theta = torch.linalg.inv(_from_unit(*input_hw).to(to_input)) @ to_input @ photograph
    grid = F.affine_grid(theta[None, :2].float(), [1, 1, *original_hw], align_corners=False)
    return tuple(
        F.grid_sample(map_[None, None], grid, align_corners=False, padding_mode="border")[0, 0] > threshold
        for map_ in attention
    )


def _from_unit(height: int, width: int) -> Tensor:
    """[-1, 1]² -> pixels, continuous."""
    return torch.tensor(
        [[width / 2, 0.0, width / 2], [0.0, height / 2, height / 2], [0.0, 0.0, 1.0]], dtype=torch.float64
    )


def _joint_types(scores: Tensor) -> np.ndarray:
    return np.repeat(np.arange(scores.shape[1]), scores.shape[2])


def _cells_inside(input_hw: Tensor, heatmaps: Tensor) -> Tensor:
    """bool [B, h, w]: cells that touch the input proper, not only its padding."""
    rows, columns = (torch.arange(size, device=input_hw.device) * HEATMAP_STRIDE for size in heatmaps.shape[2:])
    return (rows < input_hw[:, :1])[:, :, None] & (columns < input_hw[:, 1:])[:, None]


def _input_hw(heatmaps: Tensor) -> tuple[int, int]:
    return heatmaps.shape[2] * HEATMAP_STRIDE, heatmaps.shape[3] * HEATMAP_STRIDE
