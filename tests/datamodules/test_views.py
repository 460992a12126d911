import pytest

from datamodules.annotations import read_annotations
from datamodules.config import DataConfig, Resize, View
from datamodules.skeleton import COCO
from datamodules.views import DATASETS, build_dataset
from tests.datamodules.alone import alone


def test_every_view_has_a_dataset():
    assert set(DATASETS) == set(View)


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("train", [True, False])
def test_samples_of_every_view(write_coco, person, view, train):
    root = write_coco([person(1, bbox=[5, 5, 60, 70])], {1: (80, 80)})
    annotations = read_annotations(root / "annotations/person_keypoints_val2017.json", root / "val2017", COCO)
    config = DataConfig(view=view, resize=Resize.crop, size=64, crop_size=[64, 48])
    dataset = build_dataset(annotations, config, COCO, train=train)
    assert len(dataset) == 1
    sample = alone(dataset[0])
    assert sample.meta.image_id == 1
    assert sample.persons.visibility.shape == (1, 17)
    assert sample.image.shape[1:] == tuple(sample.meta.input_hw.tolist())
