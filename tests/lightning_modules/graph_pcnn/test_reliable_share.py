"""The share of reliable points: counted by hand, samples once, ranks together."""

import math

import pytest
import torch

from datamodules.contracts import Predictions
from lightning_modules.graph_pcnn.reliable_share import RELIABLE_SHARE, ReliableShare


def predictions(scores, sample_ids, is_valid=None):
    scores = torch.tensor(scores)
    keypoints = torch.cat([torch.zeros(*scores.shape, 2), scores[..., None]], dim=-1)[:, None]
    ids = torch.tensor(sample_ids)
    valid = torch.ones(len(ids), 1).bool() if is_valid is None else torch.tensor(is_valid)[:, None]
    return Predictions(keypoints, torch.ones(len(ids), 1), valid, ids, ids)


def share(measure):
    return measure.compute()[RELIABLE_SHARE]


def test_points_above_the_threshold_count():
    """0.85 itself is not above ξ: 3 of 8."""
    measure = ReliableShare(0.85)
    measure.update(predictions([[0.86, 0.85, 0.2, 0.9], [0.1, 0.99, 0.0, 0.5]], [1, 2]), None)
    assert share(measure) == pytest.approx(3 / 8)


def test_a_sample_counts_once_and_nobody_does_not():
    measure = ReliableShare(0.85)
    measure.update(predictions([[0.9, 0.0], [0.9, 0.9]], [1, 2], [True, False]), None)
    measure.update(predictions([[0.9, 0.9]], [1]), None)
    assert share(measure) == pytest.approx(1 / 2)
    measure.reset()
    assert math.isnan(share(measure))


def test_ranks_together_are_one_process():
    one, other, both = ReliableShare(0.5), ReliableShare(0.5), ReliableShare(0.5)
    first, second = predictions([[0.9, 0.9], [0.1, 0.9]], [1, 2]), predictions([[0.1, 0.1], [0.9, 0.1]], [3, 1])
    one.update(first, None)
    other.update(second, None)
    for batch in (first, second):
        both.update(batch, None)
    one.merge(other.state())
    assert share(one) == share(both) == pytest.approx(3 / 6)
