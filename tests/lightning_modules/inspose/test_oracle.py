from collections.abc import Callable
from typing import Any

import pytest
import torch

from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from lightning_modules.inspose.config import Config, Nms
from lightning_modules.inspose.oracle import ceiling, rows

Make = Callable[..., Any]


def apart(make_batch: Make, **options: Any) -> PoseBatch:
    """Two people left and right of each other, so that no keypoint shares a disk; original = 2 · input + (3, -5)."""
    torch.manual_seed(16)
    batch = make_batch(persons=2, height=128, width=256, labelled=1.0, **options)
    batch.persons.keypoints[:, 0] = 10 + torch.rand(2, 17, 2) * 80
    batch.persons.keypoints[:, 1] = torch.tensor([150.0, 10.0]) + torch.rand(2, 17, 2) * 80
    batch.meta.to_original[:] = torch.tensor([[2.0, 0.0, 3.0], [0.0, 2.0, -5.0]])
    return batch


def error(batch: PoseBatch, config: Config) -> torch.Tensor:
    """Distance of every labelled keypoint to its own person's decoded one, original pixels."""
    found = ceiling(batch, config)
    assert found.is_valid.sum(dim=1).tolist() == [2, 2]
    truth = batch.persons.keypoints * 2 + torch.tensor([3.0, -5.0])
    order = found.keypoints[..., 0].mean(dim=-1).argsort(dim=1)  # left before right
    keypoints = found.keypoints.gather(1, order[..., None, None].expand_as(found.keypoints))
    labelled = batch.persons.visibility > 0
    return (keypoints[..., :2] - truth).norm(dim=-1)[labelled]


@pytest.mark.parametrize("stride", [16, 8, 4, 2])
def test_encoding_and_decoding_are_inverse_with_disk_offsets(make_batch: Make, stride: int) -> None:
    assert error(apart(make_batch), Config(map_stride=stride)).max().item() < 1e-3


@pytest.mark.parametrize("stride", [16, 8, 4, 2])
def test_without_disk_offsets_the_error_is_that_of_the_cell(make_batch: Make, stride: int) -> None:
    found = error(apart(make_batch), Config(map_stride=stride, disk_offset=False))
    assert found.max().item() <= 2 * stride * 0.5**0.5 + 1e-3
    # uniform within a square cell of side 2 · stride: 0.3826 of the side on average
    assert found.mean().item() == pytest.approx(0.3826 * 2 * stride, rel=0.15)


def test_padding_changes_nothing(make_batch: Make) -> None:
    batch = apart(make_batch)
    wider = batch._replace(
        images=torch.nn.functional.pad(batch.images, (0, 64, 0, 32)),
        ignore=torch.nn.functional.pad(batch.ignore, (0, 16, 0, 8), value=True),
    )
    for before, after in zip(ceiling(batch, Config())[:3], ceiling(wider, Config())[:3], strict=True):
        torch.testing.assert_close(before, after)


def test_one_keypoint_makes_a_person(make_batch: Make) -> None:
    batch = make_batch(batch=1, persons=1, labelled=0.0)
    batch.persons.keypoints[0, 0, 3] = torch.tensor([61.5, 40.25])
    batch.persons.visibility[0, 0, 3] = 1
    found = ceiling(batch, Config())
    assert found.is_valid.tolist() == [[True]]
    assert found.keypoints[0, 0, 3].tolist() == pytest.approx([61.5, 40.25, 1.0])


def test_people_almost_on_top_of_each_other_are_suppressed_unless_that_is_switched_off(make_batch: Make) -> None:
    batch = apart(make_batch)
    batch.persons.keypoints[:, 1] = batch.persons.keypoints[:, 0] + 8
    assert ceiling(batch, Config(nms=Nms.hard, nms_threshold=0.6)).is_valid.sum() == 2
    unsuppressed = rows(Config(nms=Nms.hard), COCO)["1/8, disk offsets, no suppression"]
    assert unsuppressed(batch).is_valid.sum() == 4


def test_nobody(make_batch: Make) -> None:
    batch = make_batch(labelled=0.0)
    assert not ceiling(batch, Config()).is_valid.any()


def test_rows_are_every_stride_with_and_without_offsets() -> None:
    assert list(rows(Config(), COCO)) == [
        "1/16, disk offsets",
        "1/16, cell centres",
        "1/8, disk offsets",
        "1/8, cell centres",
        "1/4, disk offsets",
        "1/4, cell centres",
        "1/2, disk offsets",
        "1/2, cell centres",
        "1/8, disk offsets, no suppression",
    ]
