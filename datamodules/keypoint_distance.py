"""How far predicted keypoints lie from the labelled ones, where it is given whose they are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from datamodules.contracts import PoseBatch, Predictions, labelled_inside

MEAN_DISTANCE = "mean_distance_px"
"""The figure's name. Names that end in ``_px`` are pixels, all others shares."""


class KeypointDistance:
    """Mean Euclidean distance of predicted from labelled keypoints, in pixels of the crop the network sees.

    For crops around ground-truth boxes, of which each has one person and one prediction: nobody is matched, missed or
    left out for a low score. Samples count once, as in ``CocoKeypointEvaluator``, and ranks merge the same way.
    """

    # choice: Graph-PCNN speaks of distances but prints none. Pixels of the crop, so that large people do not outweigh
    # small ones; the mean is over keypoints, hidden ones included, that lie inside their crop.

    def __init__(self) -> None:
        self._samples: dict[int, tuple[float, int]] = {}

    def reset(self) -> None:
        self._samples = {}

    @torch.no_grad()
    def update(self, predictions: Predictions, batch: PoseBatch) -> None:
        """Take in a batch of crops (P = 1) and what was predicted for them (Q = 1), from any device."""
        matrix = batch.meta.to_original.cpu().double()
        truth = batch.persons.keypoints[:, 0].cpu().double() @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
        error = predictions.keypoints[:, 0, :, :2].cpu().double() - truth
        in_crop = torch.linalg.solve(matrix[:, :, :2], error.mT)
        labelled = labelled_inside(batch)[:, 0].cpu()
        totals = torch.where(labelled, in_crop.norm(dim=1), 0.0).sum(1).tolist()
        counts = labelled.sum(1).tolist()
        for sample_id, total, count in zip(batch.meta.sample_id.tolist(), totals, counts, strict=True):
            self._samples.setdefault(sample_id, (total, count))

    def state(self) -> dict[int, tuple[float, int]]:
        """Sum of distances and number of keypoints by ``sample_id``, for ``merge`` in another process."""
        return dict(self._samples)

    def merge(self, state: Mapping[int, tuple[float, int]]) -> None:
        """Take in another process's ``state``; a sample already here stays as it is."""
        for sample_id, sample in state.items():
            self._samples.setdefault(sample_id, sample)

    def compute(self) -> dict[str, float]:
        """The mean under ``MEAN_DISTANCE``; NaN without a labelled keypoint, or if a prediction is not finite."""
        count = sum(count for _, count in self._samples.values())
        total = math.fsum(total for total, _ in self._samples.values())
        return {MEAN_DISTANCE: total / count if count else math.nan}
