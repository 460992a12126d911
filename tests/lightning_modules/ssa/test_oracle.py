from collections.abc import Callable

import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.ssa.config import Config, DecodeConfig, Grouping
from lightning_modules.ssa.oracle import ceiling


@pytest.mark.parametrize("grouping", list(Grouping))
def test_finer_tokens_lose_no_more_than_coarse_ones(make_batch: Callable, grouping: Grouping) -> None:
    batch = make_batch(people=2, height=256, width=256, seed=3)
    error = []
    for stride in (16, 8):
        predictions = ceiling(batch, Config(stride=stride, decode=DecodeConfig(grouping=grouping)), COCO)
        assert predictions.masks is not None
        overlaps = [
            max(((mask & true).sum() / (mask | true).sum()).item() for mask in masks)
            for masks, people in zip(predictions.masks, batch.instance_masks, strict=True)
            for true in people.repeat_interleave(4, 1).repeat_interleave(4, 2)
        ]
        error.append(1 - sum(overlaps) / len(overlaps))
    assert error[1] < error[0] < 0.5


def test_people_come_back_where_they_are(make_batch: Callable) -> None:
    batch = make_batch(people=1, height=256, width=256)
    predictions = ceiling(batch, Config(), COCO)
    assert predictions.is_valid.tolist() == [[True], [True]]
    assert (predictions.keypoints[:, :, :, :2] - batch.persons.keypoints).abs().max() <= 3
    torch.testing.assert_close(predictions.scores, torch.ones(2, 1))
