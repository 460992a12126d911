import pytest

from datamodules.config import DataConfig, OnBadAnnotation, OnBadImage
from datamodules.selection import annotation_file, count_faults, training_annotations, validation_annotations
from datamodules.skeleton import COCO

NOBODY = {"keypoints": [0] * 51, "num_keypoints": 0}


@pytest.fixture
def root(write_coco, person):
    """Six images: a labelled person on 1, 3 and 5, one without keypoints on 2, nobody on 4 and 6."""
    people = [person(10 + n, image_id=n, **(NOBODY if n == 2 else {})) for n in (1, 2, 3, 5)]
    return write_coco(people, dict.fromkeys(range(1, 7), (40, 60)))


def train(root, **changes):
    return training_annotations(root, DataConfig(**changes), COCO).image_ids.tolist()


def val(root, **changes):
    return validation_annotations(root, DataConfig(**changes), COCO).image_ids.tolist()


def test_names_before_people_before_limits(root):
    assert train(root) == [1, 3, 5]
    assert train(root, limit_train=2) == [1, 3]
    assert train(root, train_image_ids=[2, 5, 3], limit_train=1) == [3]
    assert train(root, train_without_people=True, limit_train=5) == [1, 2, 3, 4, 5]
    assert val(root) == [1, 2, 3, 4, 5, 6]
    assert val(root, val_image_ids=[6, 2], limit_val=1) == [2]


def test_files_that_are_not_used_need_not_be_there(root):
    for number in (4, 5, 6):
        (root / f"train2017/{number}.png").unlink()
    assert train(root, limit_train=2) == [1, 3]
    with pytest.raises(ValueError, match="image 5: its photograph"):
        train(root)
    assert train(root, on_bad_image=OnBadImage.skip) == [1, 3]


def test_nothing_left(root, write_coco):
    with pytest.raises(ValueError, match="no image to train on"):
        train(root, train_image_ids=[4])
    with pytest.raises(ValueError, match="no image to evaluate"):
        validation_annotations(write_coco([], images={}), DataConfig(), COCO)


def test_faults_are_counted_by_kind(root, write_coco, person):
    write_coco(
        [person(1), person(2, num_keypoints=1), person(3, keypoints=[]), person(4, image_id=2)],
        dict.fromkeys((1, 2), (40, 60)),
    )
    (root / "val2017/2.png").write_text("")
    config = DataConfig(on_bad_annotation=OnBadAnnotation.drop, on_bad_image=OnBadImage.skip)
    annotations = validation_annotations(root, config, COCO)
    assert annotations.file == annotation_file(root, "val2017")
    assert count_faults(annotations) == {"images_dropped": 1, "annotations_dropped": 1, "repaired": 1}
