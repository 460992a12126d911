import numpy as np
import pytest

from datamodules.annotations import read_annotations
from datamodules.collate import Collate
from datamodules.config import AugmentationConfig, DataConfig, Resize, View
from datamodules.image_dataset import ImageDataset
from datamodules.sample_sheet import draw_batch, sample_sheet
from datamodules.skeleton import COCO


def read(root):
    return read_annotations(root / "annotations/person_keypoints_val2017.json", root / "val2017", COCO)


def test_a_row_is_two_samples_each_beside_its_twin(write_coco, person):
    root = write_coco([person(n, image_id=n) for n in (1, 2, 3)], dict.fromkeys((1, 2, 3), (80, 80)))
    config = DataConfig(resize=Resize.crop, size=80, augmentation=AugmentationConfig(flip=0.5, rotation=20))
    sheet = sample_sheet(read(root), config, COCO, 3, columns=2, cell=80)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] > 4 * 80
    assert 2 * 80 < sheet.shape[0] < 3 * 80
    again = sample_sheet(read(root), config, COCO, 3, columns=2, cell=80)
    np.testing.assert_array_equal(sheet, again)
    other = sample_sheet(read(root), config, COCO, 3, columns=2, cell=80, seed=1)
    assert (sheet != other).any()


def test_padding_is_not_drawn_and_people_are(write_coco, person):
    root = write_coco([person(1)])
    config = DataConfig(resize=Resize.shorter_side, size=40, max_size=60)
    sample = ImageDataset(read(root), config, COCO, train=False)[0]
    drawn = draw_batch(Collate(pad_multiple=32)([sample]), COCO)
    assert drawn.shape == (40, 60, 3)
    plain = sample.image
    assert (drawn != plain).any(axis=2)[6:30, 4:24].mean() > 0.2
    assert (drawn == plain).all(axis=2)[:, 45:].all()


@pytest.mark.parametrize("view", list(View))
def test_every_view_is_drawn_with_its_twin(write_coco, person, view):
    """The right half of a row of one pair is the mirror image of the left, drawing aside."""
    root = write_coco([person(1, bbox=[5, 5, 60, 70])], {1: (80, 80)})
    config = DataConfig(view=view, resize=Resize.crop, size=80, crop_size=[80, 80])
    sheet = sample_sheet(read(root), config, COCO, 5, columns=1, cell=80)
    row = sheet[4:84].astype(float)
    left, right = row[:, 4:84], row[:, 88:168]
    assert np.abs(left - right[:, ::-1]).mean() < 0.5 * np.abs(left - right).mean()
