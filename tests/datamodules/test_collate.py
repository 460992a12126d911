from functools import partial

import numpy as np
import torch

from datamodules.collate import Collate
from datamodules.geometry import identity
from datamodules.image_dataset import Sample, SampleMeta
from datamodules.people import People


def sample(height, width, people, number, masks=False):
    quarter = (-(-height // 4), -(-width // 4))
    return Sample(
        image=np.full((height, width, 3), 9, dtype=np.uint8),
        persons=People(
            keypoints=np.full((people, 17, 2), float(number), dtype=np.float32),
            visibility=np.full((people, 17), 2, dtype=np.uint8),
            boxes=np.full((people, 4), 1.5, dtype=np.float32),
            areas=np.full(people, 2.5, dtype=np.float32),
        ),
        ignore=None if number % 2 else np.zeros(quarter, dtype=bool),
        instance_masks=np.ones((people, *quarter), dtype=bool) if masks else None,
        meta=SampleMeta(
            sample_id=number,
            image_id=100 + number,
            original_hw=(height, width),
            input_hw=(height, width),
            to_original=identity(),
            detection_score=1.0,
        ),
    )


def test_padding_lies_right_and_below():
    batch = Collate(pad_multiple=32)([sample(33, 50, 2, 0, masks=True), sample(20, 70, 3, 1, masks=True)])
    assert batch.images.shape == (2, 3, 64, 96)
    assert batch.images.dtype == torch.uint8
    assert batch.images[0, :, :33, :50].eq(9).all()
    assert batch.images[0].sum() == 9 * 3 * 33 * 50
    assert batch.ignore.shape == (2, 16, 24)
    assert not batch.ignore[0, :9, :13].any()
    assert batch.ignore[0].sum() == 16 * 24 - 9 * 13
    assert batch.instance_masks.shape == (2, 3, 16, 24)
    assert batch.instance_masks[0].sum() == 2 * 9 * 13
    assert batch.persons.is_real.tolist() == [[True, True, False], [True, True, True]]
    assert batch.persons.visibility[0, 2].tolist() == [0] * 17
    assert batch.persons.keypoints[1].eq(1).all()
    assert not batch.ignore[1, :5, :18].any()
    assert batch.ignore[1].sum() == 16 * 24 - 5 * 18
    assert batch.persons.areas.tolist() == [[2.5, 2.5, 0], [2.5, 2.5, 2.5]]
    assert batch.meta.sample_id.tolist() == [0, 1]
    assert batch.meta.input_hw.tolist() == [[33, 50], [20, 70]]
    assert batch.meta.to_original.shape == (2, 2, 3)
    assert batch.meta.detection_score.dtype == torch.float32


def test_a_batch_without_people_has_room_for_one():
    batch = Collate(pad_multiple=4)([sample(8, 8, 0, 0), sample(8, 8, 0, 1)])
    assert batch.persons.keypoints.shape == (2, 1, 17, 2)
    assert not batch.persons.is_real.any()
    assert batch.instance_masks is None


def test_least_size_and_no_padding():
    assert Collate(pad_multiple=32, min_size=100)([sample(8, 70, 1, 0)]).images.shape == (1, 3, 128, 128)
    exact = Collate(pad_multiple=32)([sample(64, 32, 1, 0)])
    assert exact.images.shape == (1, 3, 64, 32)
    assert not exact.ignore.any()
    assert Collate(pad_multiple=1)([sample(7, 5, 1, 0)]).ignore.shape == (1, 2, 2)


def test_pixels_side_by_side_become_planes():
    generator = np.random.default_rng(0)
    shapes = [(33, 50), (1, 1), (20, 70), (7, 1), (64, 96)]
    pixels = [generator.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    samples = [
        sample(*shape, 0, n)._replace(image=image) for n, (shape, image) in enumerate(zip(shapes, pixels, strict=True))
    ]
    batch = Collate(pad_multiple=32)(samples)
    assert batch.images.is_contiguous()
    for row, image, (height, width) in zip(batch.images, pixels, shapes, strict=True):
        assert row[:, :height, :width].permute(1, 2, 0).equal(torch.from_numpy(image))
        assert row.sum() == image.sum()


def test_nothing_is_left_of_what_the_memory_held(monkeypatch):
    """Memory comes unset: whatever lies in it, the batch is the same."""
    samples = [sample(33, 50, 2, 0, masks=True), sample(20, 70, 0, 1, masks=True)]
    batches = []
    for value in (0, 255):
        monkeypatch.setattr("datamodules.parcel.empty_for_trainer", partial(torch.full, fill_value=value))
        batches.append(Collate(pad_multiple=32)(samples))
    for one, other in zip(leaves(batches[0]), leaves(batches[1]), strict=True):
        assert one.equal(other)


def leaves(batch):
    return batch.images, *batch.persons, batch.ignore, batch.instance_masks, *batch.meta
