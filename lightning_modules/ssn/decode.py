"""From heatmaps of a crop to a person in the photograph: the way back of ``targets.py``."""

from __future__ import annotations

import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, Predictions
from lightning_modules.shared.crops import people_of_crops
from lightning_modules.shared.peaks import argmax_peaks, dark_peaks, quarter_peaks
from lightning_modules.ssn.config import DecodeConfig, SubPixel
from lightning_modules.ssn.targets import to_pixels


@torch.no_grad()
def decode(heatmap_s4: Tensor, batch: PoseBatch, config: DecodeConfig, sigma: float) -> Predictions:
    """One person per crop.

    Args:
        heatmap_s4: [B, K, H/4, W/4], averaged with the mirror image's where that is wanted.
        batch: the crops.
        config: how to decode.
        sigma: of the targets' Gaussians, cells.

    Returns:
        Q = 1, valid where the crop's person is real. A keypoint's score is its peak; the person's, box score × mean of
        the keypoint scores above ``rescore_threshold`` (0 if there is none).
    """
    points, scores = peaks(heatmap_s4.float(), config.sub_pixel, sigma)
    person_scores = batch.meta.detection_score * _confidence(scores, config.rescore_threshold)
    return people_of_crops(to_pixels(points), scores, person_scores, batch)


def peaks(heatmap: Tensor, sub_pixel: SubPixel, sigma: float) -> tuple[Tensor, Tensor]:
    """f32 [B, K, h, w] -> points f32 [B, K, 2], heatmap indices, and scores [B, K]."""
    if sub_pixel is SubPixel.dark:
        return dark_peaks(heatmap, sigma)
    return argmax_peaks(heatmap) if sub_pixel is SubPixel.argmax else quarter_peaks(heatmap)


def _confidence(scores: Tensor, threshold: float) -> Tensor:
    """[B, K] -> [B]: mean of the scores above ``threshold``; 1 everywhere at a threshold of 1."""
    if threshold >= 1:
        return torch.ones_like(scores[:, 0])
    is_counted = scores > threshold
    return (scores * is_counted).sum(1) / is_counted.sum(1).clamp_min(1)
