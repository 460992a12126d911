"""The share of reliable guided points of an evaluation: how often graph pose refinement passes a message."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from datamodules.contracts import PoseBatch, Predictions

RELIABLE_SHARE = "reliable_share"
"""The metric's name."""


class ReliableShare:
    """Share of guided points with a response above ξ (R of Eq. 12 at test).

    One point per keypoint of every real person, labelled or not: nothing is known of labels at test. Samples count
    once, as in ``CocoKeypointEvaluator``, and ranks merge the same way.

    Args:
        threshold: ξ.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._samples: dict[int, tuple[int, int]] = {}

    def reset(self) -> None:
        self._samples = {}

    @torch.no_grad()
    def update(self, predictions: Predictions, batch: PoseBatch) -> None:
        """Add a batch of crops (Q = 1), whose keypoint scores are stage 1's, from any device."""
        is_valid = predictions.is_valid[:, 0].cpu()
        reliable = (predictions.keypoints[:, 0, :, 2].cpu() > self.threshold).sum(1)
        points = predictions.keypoints.shape[2]
        for sample_id, count, valid in zip(
            predictions.sample_id.tolist(), reliable.tolist(), is_valid.tolist(), strict=True
        ):
            if valid:
                self._samples.setdefault(sample_id, (count, points))

    def state(self) -> dict[int, tuple[int, int]]:
        """Reliable points and points by ``sample_id``, for ``merge`` in another process."""
        return dict(self._samples)

    def merge(self, state: Mapping[int, tuple[int, int]]) -> None:
        """Add another process's ``state``; a sample already here stays as it is."""
        for sample_id, sample in state.items():
            self._samples.setdefault(sample_id, sample)

    def compute(self) -> dict[str, float]:
        """The share under ``RELIABLE_SHARE``; NaN without a person."""
        total = sum(points for _, points in self._samples.values())
        reliable = sum(count for count, _ in self._samples.values())
        return {RELIABLE_SHARE: reliable / total if total else math.nan}
