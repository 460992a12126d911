"""Hand-computed means over crops with known maps, repeats and ranks."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from datamodules.contracts import Predictions
from datamodules.keypoint_distance import MEAN_DISTANCE, KeypointDistance

TO_ORIGINAL = torch.tensor([[[2.0, 0.0, 30.0], [0.0, 2.0, -10.0]]])
"""A crop pixel is two pixels of the photograph."""


def crops(keypoints: list[Any], visibility: list[Any], sample_ids: list[int], matrix: Tensor = TO_ORIGINAL) -> Any:
    """``keypoints`` [B][K][2] in the crop."""
    count = len(sample_ids)
    meta = SimpleNamespace(
        sample_id=torch.tensor(sample_ids),
        to_original=matrix.expand(count, 2, 3),
        input_hw=torch.tensor([[128, 96]]).expand(count, 2),
    )
    persons = SimpleNamespace(
        keypoints=torch.tensor(keypoints)[:, None],
        visibility=torch.tensor(visibility, dtype=torch.uint8)[:, None],
        is_real=torch.ones(count, 1).bool(),
    )
    return SimpleNamespace(persons=persons, meta=meta)


def predicted(keypoints: list[Any], sample_ids: list[int], matrix: Tensor = TO_ORIGINAL) -> Predictions:
    """``keypoints`` [B][K][2] in the crop -> predictions in the photograph."""
    points = torch.tensor(keypoints) @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    ids = torch.tensor(sample_ids)
    scored = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)[:, None]
    return Predictions(scored, torch.ones(len(ids), 1), torch.ones(len(ids), 1).bool(), ids, ids)


TRUTH = [[[10.0, 10.0], [20.0, 5.0], [0.0, 0.0]], [[8.0, 8.0], [1.0, 2.0], [3.0, 4.0]]]
SEEN = [[2, 1, 0], [2, 0, 0]]
ANSWER = [[[13.0, 14.0], [20.0, 7.0], [50.0, 50.0]], [[8.0, 8.0], [90.0, 90.0], [90.0, 90.0]]]


def test_the_mean_is_over_labelled_keypoints_in_pixels_of_the_crop() -> None:
    distance = KeypointDistance()
    distance.update(predicted(ANSWER, [0, 1]), crops(TRUTH, SEEN, [0, 1]))
    assert distance.compute() == {MEAN_DISTANCE: pytest.approx((5.0 + 2.0 + 0.0) / 3, abs=1e-5)}


def test_keypoints_outside_their_crop_do_not_count() -> None:
    distance = KeypointDistance()
    truth = [[[10.0, 10.0], [-0.1, 5.0], [96.0, 5.0]], [[8.0, 8.0], [1.0, 128.0], [95.9, 127.9]]]
    answer = [[[13.0, 14.0], [50.0, 50.0], [50.0, 50.0]], [[8.0, 8.0], [90.0, 90.0], [95.9, 125.9]]]
    distance.update(predicted(answer, [0, 1]), crops(truth, [[2, 1, 2], [2, 1, 1]], [0, 1]))
    assert distance.compute() == {MEAN_DISTANCE: pytest.approx((5.0 + 0.0 + 2.0) / 3, abs=1e-5)}


def test_turning_and_mirroring_the_crop_changes_nothing() -> None:
    turned = torch.tensor([[[-0.6, 0.8, 300.0], [0.8, 0.6, 5.0]]]) * 1.7
    distance = KeypointDistance()
    distance.update(predicted(ANSWER, [0, 1], turned), crops(TRUTH, SEEN, [0, 1], turned))
    assert distance.compute()[MEAN_DISTANCE] == pytest.approx(7.0 / 3, abs=1e-4)


def test_a_repeated_sample_counts_once_also_over_ranks() -> None:
    first, second = KeypointDistance(), KeypointDistance()
    first.update(predicted(ANSWER[:1], [0]), crops(TRUTH[:1], SEEN[:1], [0]))
    second.update(predicted(ANSWER[1:], [1]), crops(TRUTH[1:], SEEN[1:], [1]))
    second.update(predicted(ANSWER[1:], [0]), crops(TRUTH[1:], SEEN[1:], [0]))  # the sampler's padding
    first.merge(second.state())
    assert first.compute()[MEAN_DISTANCE] == pytest.approx(7.0 / 3, abs=1e-5)
    first.reset()
    assert first.state() == {}


@pytest.mark.parametrize("seen", [[[0, 0, 0]], None])
def test_nobody_labelled_has_no_distance(seen: Any) -> None:
    distance = KeypointDistance()
    if seen is not None:
        distance.update(predicted(ANSWER[:1], [0]), crops(TRUTH[:1], seen, [0]))
    assert math.isnan(distance.compute()[MEAN_DISTANCE])


def test_a_prediction_that_is_not_finite_is_not_hidden() -> None:
    broken = [[[math.nan, 0.0], [20.0, 7.0], [0.0, 0.0]]]
    distance = KeypointDistance()
    distance.update(predicted(broken, [0]), crops(TRUTH[:1], SEEN[:1], [0]))
    assert math.isnan(distance.compute()[MEAN_DISTANCE])
