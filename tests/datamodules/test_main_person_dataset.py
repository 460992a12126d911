import numpy as np
import pytest
import torch

from datamodules.annotations import read_annotations
from datamodules.coco import CocoDataModule
from datamodules.config import AugmentationConfig, DataConfig, OnBadImage, View
from datamodules.main_person_dataset import MainPersonDataset, main_people
from datamodules.sampler import Draw
from datamodules.skeleton import COCO
from tests.datamodules.alone import alone

STILL = AugmentationConfig(flip=0.0)
WILD = AugmentationConfig(flip=0.5, rotation=45, scale=[0.5, 1.1], shift_pixels=40)
TALL = [100.0, 50.0, 60.0, 120.0]


def read(root):
    return read_annotations(root / "annotations/person_keypoints_train2017.json", root / "train2017", COCO)


def config(**changes) -> DataConfig:
    return DataConfig(**{"view": View.main_person, "crop_size": [96, 96], "augmentation": STILL, **changes})


def test_who_is_a_main_person(write_coco, person):
    few = person(2, bbox=TALL)["keypoints"][:12] + [0] * 39
    root = write_coco(
        [
            person(1, bbox=TALL),
            person(2, bbox=[200.0, 50, 60, 120], keypoints=few, num_keypoints=4),
            person(3, bbox=[200.0, 50, 30, 30], area=900),
            person(4, bbox=[135.0, 50, 60, 120]),  # 35 px beside the first one: nearer than 0.3 of 120
            person(5, bbox=[137.0, 50, 60, 120]),
            person(6, bbox=TALL, image_id=2),
            person(7, bbox=TALL, image_id=2, iscrowd=1),
        ],
        {1: (200, 300), 2: (200, 300)},
    )
    annotations = read(root)
    assert annotations.ids[main_people(annotations)].tolist() == [1, 5, 6]
    assert len(MainPersonDataset(annotations, config(), COCO)) == 3


def test_the_person_stands_in_the_middle_at_the_height_asked_for(write_coco, person):
    data = MainPersonDataset(read(write_coco([person(1, bbox=TALL)], {1: (200, 300)})), config(), COCO)
    sample = alone(data[0])
    assert sample.image.shape == (3, 96, 96)
    x0, y0, x1, y1 = sample.persons.boxes[0].tolist()
    assert y1 - y0 == pytest.approx(0.6 * 96, rel=1e-5)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((48, 48), abs=1e-3)
    assert sample.meta.sample_id == 0
    back = sample.persons.keypoints[0] @ sample.meta.to_original[:, :2].T + sample.meta.to_original[:, 2]
    torch.testing.assert_close(back, torch.from_numpy(data.annotations.keypoints[0]), atol=1e-3, rtol=0)


def test_augmentation_stays_within_its_bounds_and_repeats_by_seed_epoch_and_sample(write_coco, person):
    root = write_coco([person(1, bbox=TALL), person(2, bbox=TALL, image_id=2)], {1: (200, 300), 2: (200, 300)})
    data = MainPersonDataset(read(root), config(augmentation=WILD), COCO, seed=3)
    again = MainPersonDataset(read(root), config(augmentation=WILD), COCO, seed=3)
    factors, angles, centres, mirrored = [], [], [], 0
    for epoch in range(40):
        sample = alone(data[Draw(1, epoch)])
        assert sample.image.equal(alone(again[Draw(1, epoch)]).image)
        matrix = np.vstack([sample.meta.to_original.double().numpy(), [0, 0, 1]])
        forward = np.linalg.inv(matrix)
        factors.append(np.sqrt(abs(np.linalg.det(forward[:2, :2]))) * 120 / (0.6 * 96))
        mirrored += np.linalg.det(forward) < 0
        angles.append(np.degrees(np.arctan2(forward[0, 1], forward[1, 1])))
        centres.append(forward[:2] @ [130, 110, 1] - 48)
    assert 0.5 <= min(factors) < 0.65 < 0.95 < max(factors) <= 1.1
    assert -45 <= min(angles) < -25
    assert 25 < max(angles) <= 45
    assert 25 < np.abs(centres).max() <= 40
    assert 8 < mirrored < 32


def test_skipping_an_unreadable_photograph_takes_someone_of_the_next(write_coco, person):
    root = write_coco([person(1, bbox=TALL), person(2, bbox=TALL, image_id=2)], {1: (200, 300), 2: (200, 300)})
    (root / "train2017/1.png").write_bytes(b"no picture")
    data = MainPersonDataset(read(root), config(on_bad_image=OnBadImage.skip), COCO)
    assert data[0].meta.image_id == 2
    assert data[0].meta.sample_id == 1


def test_the_datamodule_trains_on_crops_and_evaluates_photographs(write_coco, person):
    root = write_coco([person(1, bbox=TALL)], {1: (200, 300)})
    options = config(root=str(root), size=64, max_size=128, num_workers=0, batch_size=1)
    data = CocoDataModule(options, COCO)
    data.setup()
    assert len(data.train_set) == 1
    assert next(iter(data.train_dataloader())).images.shape == (1, 3, 96, 96)
    assert next(iter(data.val_dataloader())).images.shape == (1, 3, 64, 96)


def test_without_a_main_person_it_says_so(write_coco, person):
    root = write_coco([person(1, bbox=[10.0, 10, 20, 20], area=400)], {1: (200, 300)})
    with pytest.raises(ValueError, match=r"data\.view=image"):
        MainPersonDataset(read(root), config(), COCO)
