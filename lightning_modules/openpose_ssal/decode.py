"""Predictions -> people: averaging over scales, peaks, offsets, limbs, assembly (section II; testing in IV-A)."""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

import torch
from torch import Tensor

from datamodules.contracts import Meta, PoseBatch, Predictions
from lightning_modules.openpose_ssal.assembly import People, assemble
from lightning_modules.openpose_ssal.candidates import Candidates, Grid, frame_candidates, grid_candidates, vote
from lightning_modules.openpose_ssal.config import DecodeConfig
from lightning_modules.openpose_ssal.matching import greedy_matching, limb_scores
from lightning_modules.openpose_ssal.network import Output
from lightning_modules.openpose_ssal.parts import Parts, parts_to_keypoints
from lightning_modules.openpose_ssal.resampling import resample


class Scale(NamedTuple):
    """The last stage's predictions at one test scale."""

    grid: Grid
    pafs: Tensor
    """f32 [B, L, 2, h, w]."""


def predict_scales(
    network: Callable[[Tensor], Output], images: Tensor, input_hw: Tensor, stride: int, config: DecodeConfig
) -> list[Scale]:
    """Run the network at every test scale.

    Args:
        network: images -> output.
        images: normalised f32 [B, 3, H, W], 0 beyond ``input_hw``.
        input_hw: i64 [B, 2], the images' own height and width: the frame the predictions are in.
        stride: f_d; the network is given heights and widths in multiples of it.
        config: scales. Without ``base_size`` scale 1 is the input as it is.
    """
    scales = []
    for scale in config.scales:
        factor = torch.full((len(images),), scale, device=images.device)
        if config.base_size is not None:
            factor = scale * config.base_size / input_hw[:, 0].float()
        scaled = images
        if scale != 1 or config.base_size is not None:
            height, width = (input_hw * factor[:, None]).amax(0).ceil().div(stride).ceil().mul(stride).int().tolist()
            scaled = _mask(resample(images, factor, (height, width)), input_hw * factor[:, None])
        output = network(scaled)
        offsets = None if output.offsets is None else output.offsets[-1].float()
        grid = Grid(output.heatmaps[-1, :, :-1].float(), offsets, stride / factor)
        scales.append(Scale(grid, output.pafs[-1].float()))
    return scales


def decode(scales: Sequence[Scale], batch: PoseBatch, parts: Parts, config: DecodeConfig) -> Predictions:
    """Find people in a batch.

    One scale with offsets is decoded on the network's grid: peaks, each moved by its offset. Otherwise heatmaps and
    fields are enlarged to the input, averaged over scales, and every scale's offsets vote.

    Args:
        scales: predictions; the last stage's.
        batch: for the frame and the way back to the photographs.
        parts: what is predicted.
        config: thresholds.
    """
    with torch.autocast(batch.images.device.type, enabled=False):
        input_hw = batch.meta.input_hw
        candidates, pafs, cell = find_candidates(scales, batch, config)
        scores = limb_scores(candidates, pafs, cell, input_hw[:, 0].float(), parts, config)
        people = assemble(candidates, greedy_matching(scores), scores, parts, config)
        return _predictions(people, batch.meta, parts, batch.persons.keypoints.shape[2])


def find_candidates(
    scales: Sequence[Scale], batch: PoseBatch, config: DecodeConfig
) -> tuple[Candidates, Tensor, Tensor]:
    """Candidates, and the fields f32 [B, L, 2, h, w] with the size of their cells f32 [B] in frame pixels."""
    height, width = batch.images.shape[-2:]
    input_hw = batch.meta.input_hw
    threshold, limit = config.peak_threshold, config.max_candidates
    first = scales[0]
    if len(scales) == 1 and first.grid.offsets is not None:
        inside = _mask(first.grid.heatmaps, (input_hw / first.grid.cell[:, None]).ceil())
        candidates = grid_candidates(first.grid._replace(heatmaps=inside), threshold, limit)
        return candidates, first.pafs, first.grid.cell
    enlarged = [resample(scale.grid.heatmaps, scale.grid.cell, (height, width)) for scale in scales]
    fields = [resample(scale.pafs.flatten(1, 2), scale.grid.cell, (height, width)) for scale in scales]
    heatmaps = _mask(torch.stack(enlarged).mean(0), input_hw)
    pafs = torch.stack(fields).mean(0).unflatten(1, first.pafs.shape[1:3])
    candidates = frame_candidates(heatmaps, threshold, limit)
    return vote(candidates, [scale.grid for scale in scales], threshold), pafs, torch.ones_like(first.grid.cell)


def _mask(maps: Tensor, hw: Tensor) -> Tensor:
    """Zero where a pixel's centre lies beyond each image's height and width hw [B, 2]."""
    rows = torch.arange(maps.shape[-2], device=maps.device) + 0.5 < hw[:, :1]
    columns = torch.arange(maps.shape[-1], device=maps.device) + 0.5 < hw[:, 1:]
    return maps * rows[:, None, :, None] * columns[:, None, None, :]


def _predictions(people: People, meta: Meta, parts: Parts, num_keypoints: int) -> Predictions:
    """Frame pixels -> the photographs' pixels; parts -> keypoints, zeros where a part was not found."""
    affine = meta.to_original
    points = people.points @ affine[:, None, :, :2].transpose(2, 3) + affine[:, None, None, :, 2]
    points = points * (people.part_scores > 0)[..., None]
    keypoints = torch.cat((points, people.part_scores[..., None]), dim=-1)
    return Predictions(
        parts_to_keypoints(keypoints, parts, num_keypoints),
        people.scores,
        people.is_real,
        meta.sample_id,
        meta.image_id,
    )
