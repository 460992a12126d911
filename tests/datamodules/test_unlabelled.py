"""A photograph given by itself becomes the sample that the evaluation makes of it."""

from pathlib import Path

import pytest
import torch

from datamodules.config import CropFill, CropShrink, DataConfig, Resize, View
from datamodules.photographs import read_photograph
from datamodules.selection import validation_annotations
from datamodules.skeleton import COCO
from datamodules.unlabelled import UnlabelledSamples
from datamodules.views import build_dataset
from tests.datamodules.alone import alone


@pytest.mark.parametrize("from_bgr", [False, True])
@pytest.mark.parametrize("resize", list(Resize))
def test_whole_images(coco_with_sizes: Path, resize: Resize, from_bgr: bool) -> None:
    config = DataConfig(root=str(coco_with_sizes), resize=resize, size=48, max_size=80)
    dataset = build_dataset(validation_annotations(coco_with_sizes, config, COCO), config, COCO, train=False)
    make = UnlabelledSamples(config, COCO, from_bgr=from_bgr)
    for index in range(len(dataset)):
        photograph = read_photograph(dataset.annotations.path(index), None, 10**6)[..., :: -1 if from_bgr else 1]
        image_id = int(dataset.annotations.image_ids[index])
        (sample,) = make(photograph, image_id)
        ours, theirs = alone(sample), alone(dataset[index])
        assert torch.equal(ours.image, theirs.image)
        for field in ("image_id", "original_hw", "input_hw", "to_original", "detection_score"):
            assert torch.equal(getattr(ours.meta, field), getattr(theirs.meta, field)), field
        assert ours.ignore.shape == theirs.ignore.shape
        assert not ours.persons.is_real.any()
    batch = make.collate()([sample, sample])
    least = 48 if resize is not Resize.shorter_side else 1
    assert min(batch.images.shape[-2:]) >= least
    assert batch.persons.keypoints.shape == (2, 1, 17, 2)


@pytest.mark.parametrize("from_bgr", [False, True])
@pytest.mark.parametrize("shrink", list(CropShrink))
@pytest.mark.parametrize("fill", list(CropFill))
def test_crops_around_boxes(coco_with_sizes: Path, fill: CropFill, shrink: CropShrink, from_bgr: bool) -> None:
    config = DataConfig(
        root=str(coco_with_sizes),
        view=View.person,
        crop_size=[32, 24],
        pad_multiple=8,
        crop_fill=fill,
        crop_shrink=shrink,
    )
    dataset = build_dataset(validation_annotations(coco_with_sizes, config, COCO), config, COCO, train=False)
    make = UnlabelledSamples(config, COCO, from_bgr=from_bgr)
    people = dataset.people
    for index in range(len(dataset)):
        number = int(people.image[index])
        photograph = read_photograph(dataset.annotations.path(number), None, 10**6)[..., :: -1 if from_bgr else 1]
        box, score = people.boxes[index : index + 1], people.scores[index : index + 1]
        (sample,) = make(photograph, 3, box, score)
        ours, theirs = alone(sample), alone(dataset[index])
        assert torch.equal(ours.image, theirs.image)
        assert torch.equal(ours.persons.boxes, theirs.persons.boxes)
        assert torch.equal(ours.meta.to_original, theirs.meta.to_original)
        assert bool(ours.persons.is_real.all())
    assert make.collate()([sample]).images.shape == (1, 3, 32, 24)
    assert make(photograph, 3, box[:0], score[:0]) == []
    with pytest.raises(TypeError, match="takes boxes"):
        make(photograph, 3)


@pytest.fixture
def coco_with_sizes(write_coco, person) -> Path:
    people = [person(1, 1), person(2, 2, bbox=[30.0, 2.0, 25.0, 20.0]), person(3, 3, bbox=[0.0, 0.0, 9.0, 60.0])]
    return write_coco(people, {1: (40, 60), 2: (33, 71), 3: (120, 41)})
