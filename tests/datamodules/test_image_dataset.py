import numpy as np
import pytest
import torch

from datamodules import geometry as g
from datamodules.annotations import read_annotations
from datamodules.config import AugmentationConfig, DataConfig, IgnoreShape, OnBadImage, Resize
from datamodules.image_dataset import ImageDataset
from datamodules.photographs import ImageError
from datamodules.sampler import Draw
from datamodules.skeleton import COCO
from tests.datamodules.alone import alone

NOBODY = {"keypoints": [0] * 51, "num_keypoints": 0}
CIRCLE = [v for a in np.linspace(0, 6.2, 30) for v in (30 + 12 * float(np.cos(a)), 20 + 12 * float(np.sin(a)))]


def dataset(root, *, train=False, seed=0, **changes):
    """Evaluation at the photographs' own size of 60x40 unless told otherwise."""
    options = {"size": 40, "max_size": 60, "train_size": [40, 40], "augmentation": AugmentationConfig(flip=0.0)}
    annotations = read_annotations(root / "annotations/person_keypoints_val2017.json", root / "val2017", COCO)
    return ImageDataset(annotations, DataConfig(**{**options, **changes}), COCO, train=train, seed=seed)


def test_one_sample(write_coco, person):
    root = write_coco([person(10), person(11, **NOBODY), person(12, iscrowd=1, **NOBODY)])
    sample = alone(dataset(root, size=80, max_size=200)[0])
    assert sample.image.shape == (3, 80, 120)
    assert sample.image.dtype == torch.uint8
    assert sample.persons.visibility.tolist() == [[2] * 17, [0] * 17]
    assert sample.persons.boxes.tolist() == [[8, 12, 48, 60]] * 2
    assert sample.persons.areas.tolist() == [960, 960]
    assert sample.persons.is_real.tolist() == [True, True]
    assert sample.instance_masks is None
    assert sample.meta.image_id == 1
    assert sample.meta.original_hw.tolist() == [40, 60]
    assert sample.meta.input_hw.tolist() == [80, 120]
    assert sample.meta.detection_score == 1
    back = sample.persons.keypoints[0] @ sample.meta.to_original[:, :2].T + sample.meta.to_original[:, 2]
    expected = torch.tensor(person(10)["keypoints"]).reshape(17, 3)[:, :2] + 0.5
    torch.testing.assert_close(back, expected, atol=1e-4, rtol=0)


def test_the_photograph_itself_at_its_own_size(write_coco):
    from datamodules.photographs import read_photograph

    root = write_coco([])
    sample = alone(dataset(root)[0])
    expected = read_photograph(root / "val2017/1.png", (40, 60), 10**6)
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0).numpy(), expected)
    assert sample.persons.keypoints.shape == (0, 17, 2)
    assert not sample.ignore.any()


def test_ignored_are_crowds_and_people_without_keypoints(write_coco, person):
    bare = person(11, bbox=[4, 8, 16, 12], **NOBODY)
    crowd = person(12, bbox=[40, 20, 20, 20], iscrowd=1, **NOBODY)
    ignore = alone(dataset(write_coco([person(10), bare, crowd]))[0]).ignore
    expected = torch.zeros(10, 15, dtype=torch.bool)
    expected[2:5, 1:5] = True
    expected[5:, 10:] = True
    torch.testing.assert_close(ignore, expected)


def test_ignored_shape_may_be_the_mask(write_coco, person):
    crowd = person(12, bbox=[18, 8, 24, 24], segmentation=[CIRCLE], iscrowd=1, **NOBODY)
    unsegmented = person(13, bbox=[0, 0, 8, 8], segmentation=None, **NOBODY)
    root = write_coco([crowd, unsegmented])
    shapes = (IgnoreShape.box, IgnoreShape.mask)
    by_box, by_mask = (alone(dataset(root, ignore_shape=shape)[0]).ignore for shape in shapes)
    assert by_box[2:8, 5:10].all()
    assert (by_mask & ~by_box).sum() == 0
    assert by_mask.sum() * 16 == pytest.approx(np.pi * 144 + 64, rel=0.1)
    assert by_mask[:2, :2].all()


def test_the_ignore_map_follows_the_photograph(write_coco, person):
    """Under any draw it is the crowd's quadrilateral, and everything beyond the photograph's own."""
    root = write_coco([person(12, bbox=[10, 5, 30, 20], iscrowd=1, **NOBODY)])
    wild = AugmentationConfig(flip=0.5, rotation=60, scale=[0.5, 2.0], shift=0.2)
    data = dataset(root, train=True, resize=Resize.crop, size=80, augmentation=wild)
    rows, columns = np.mgrid[:20, :20]
    centres = np.stack([columns * 4 + 2, rows * 4 + 2], axis=-1).reshape(-1, 2)
    for epoch in range(20):
        sample = alone(data[Draw(0, epoch)])
        x, y = g.map_points(sample.meta.to_original.double().numpy(), centres).T
        margin = 2.5 / np.sqrt(abs(g.determinant(g.invert(sample.meta.to_original.double().numpy()))))
        depth_crowd = np.min([x - 10, 40 - x, y - 5, 25 - y], axis=0)
        depth_photo = np.min([x, 60 - x, y, 40 - y], axis=0)
        ignore = sample.ignore.numpy().ravel()
        assert ignore[(depth_crowd > margin) | (depth_photo < -margin)].all()
        assert not ignore[(depth_crowd < -margin) & (depth_photo > margin)].any()


def test_a_person_whose_keypoints_are_cut_off_is_not_ignored(write_coco, person):
    keypoints = [2, 2, 2] * 17
    root = write_coco([person(10, bbox=[0, 0, 30, 40], keypoints=keypoints)])
    data = dataset(root, train=True, resize=Resize.crop, size=40, augmentation=AugmentationConfig(flip=0.0))
    sample = alone(data[0])
    assert sample.persons.visibility.tolist() == [[0] * 17]
    assert sample.persons.boxes.tolist() == [[0, 0, 20, 40]]
    assert not sample.ignore.any()


def test_people_outside_the_input_are_left_out(write_coco, person):
    root = write_coco([person(10, bbox=[0, 0, 8, 30]), person(11, bbox=[20, 5, 20, 30])])
    sample = alone(dataset(root, train=True, resize=Resize.crop, size=40, instance_masks=True)[0])
    assert sample.persons.boxes.tolist() == [[10, 5, 30, 35]]
    assert sample.instance_masks.shape == (1, 10, 10)
    assert sample.instance_masks[0, 2:8, 3:7].all()


def test_instance_masks_follow_the_people(write_coco, person):
    """Against the polygon drawn at full size by another route: its keypoints' own map."""
    root = write_coco([person(10, segmentation=[CIRCLE], bbox=[18, 8, 24, 24]), person(11, iscrowd=1)])
    wild = AugmentationConfig(flip=0.5, rotation=60, scale=[1.0, 2.0], shift=0.1)
    data = dataset(root, train=True, resize=Resize.crop, size=80, augmentation=wild, instance_masks=True)
    rows, columns = np.mgrid[:20, :20]
    centres = np.stack([columns * 4 + 2, rows * 4 + 2], axis=-1)
    for epoch in range(10):
        sample = alone(data[Draw(0, epoch)])
        distance = np.linalg.norm(g.map_points(sample.meta.to_original.double().numpy(), centres) - [30, 20], axis=-1)
        mask = sample.instance_masks[0].numpy()
        assert mask[distance < 10].all()
        assert not mask[distance > 14].any()


def test_mirror_twin(write_coco, person):
    """Mirroring the photograph mirrors the picture, the maps and the people, and exchanges their sides."""
    crowd = person(12, bbox=[36, 20, 20, 16], iscrowd=1, segmentation=[CIRCLE], **NOBODY)
    root = write_coco([person(10, segmentation=[CIRCLE]), crowd])
    options = {"train": True, "instance_masks": True, "ignore_shape": IgnoreShape.mask}
    plain, twin = (
        alone(dataset(root, augmentation=AugmentationConfig(flip=flip), **options)[0]) for flip in (0.0, 1.0)
    )
    torch.testing.assert_close(twin.image, plain.image.flip(2))
    torch.testing.assert_close(twin.ignore, plain.ignore.flip(1))
    torch.testing.assert_close(twin.instance_masks, plain.instance_masks.flip(2))
    expected = plain.persons.keypoints[:, COCO.flip_permutation]
    expected[..., 0] = 60 - expected[..., 0]
    torch.testing.assert_close(twin.persons.keypoints, expected)
    torch.testing.assert_close(
        twin.persons.boxes,
        plain.persons.boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([60, 0, 60, 0]),
    )


def test_draws_repeat_and_differ(write_coco, person):
    root = write_coco([person(10)])
    wild = {"train": True, "augmentation": AugmentationConfig(rotation=40, color=0.3)}
    first, again, other_seed = dataset(root, **wild), dataset(root, **wild), dataset(root, seed=1, **wild)
    again[Draw(0, 7)]
    for epoch in range(3):
        image = first[Draw(0, epoch)].image
        np.testing.assert_array_equal(image, again[Draw(0, epoch)].image)
        assert (image != first[Draw(0, epoch + 1)].image).any()
        assert (image != other_seed[Draw(0, epoch)].image).any()
    assert (first[0].image != first[0].image).any()


@pytest.fixture
def damaged(write_coco, person):
    root = write_coco(
        [person(10, image_id=image_id) | {"id": image_id} for image_id in (1, 2, 3)],
        {1: (40, 60), 2: (40, 60), 3: (40, 60)},
    )
    (root / "val2017/2.png").write_bytes((root / "val2017/2.png").read_bytes()[:-50])
    return root


def test_a_damaged_photograph_is_an_error(damaged):
    with pytest.raises(ImageError, match=r"2\.png: truncated"):
        dataset(damaged)[1]


def test_a_damaged_photograph_is_replaced_in_training(damaged):
    data = dataset(damaged, train=True, on_bad_image=OnBadImage.skip)
    sample = alone(data[1])
    assert sample.meta.image_id == 3
    assert sample.meta.sample_id == 2
    assert data.skipped.tolist() == [False, True, False]


def test_a_damaged_photograph_is_blank_in_evaluation(damaged):
    data = dataset(damaged, on_bad_image=OnBadImage.skip, instance_masks=True)
    sample = alone(data[1])
    assert sample.meta.image_id == 2
    assert sample.meta.sample_id == 1
    assert not sample.image.any()
    assert sample.ignore.all()
    assert len(sample.persons.is_real) == 0
    assert sample.instance_masks.shape == (0, 10, 15)
    assert data.skipped.tolist() == [False, True, False]


def test_no_readable_photograph_at_all(damaged):
    for image_id in (1, 3):
        (damaged / f"val2017/{image_id}.png").write_text("")
    with pytest.raises(ImageError, match="not one of 3 photographs can be read"):
        dataset(damaged, train=True, on_bad_image=OnBadImage.skip)[0]


def test_samples_fetched_together_are_those_fetched_alone(write_coco, person, monkeypatch):
    """A batch's photographs are decoded ahead, in parts; draws and pixels stay."""
    crowd = person(4, image_id=2, bbox=[36, 20, 20, 16], iscrowd=1, **NOBODY)
    people = [person(1), person(2, image_id=3), crowd, person(5, image_id=3, bbox=[40, 8, 20, 24])]
    root = write_coco(people, {1: (40, 60), 2: (50, 40), 3: (44, 60)})
    monkeypatch.setattr("datamodules.image_dataset._DECODED_AHEAD", 2)
    data = dataset(root, train=True, augmentation=AugmentationConfig(rotation=30, color=0.5))
    keys = [Draw(number, 4) for number in (2, 0, 1)]
    for together, key in zip(data.__getitems__(keys), keys, strict=True):
        single = data[key]
        np.testing.assert_array_equal(together.image, single.image)
        np.testing.assert_array_equal(together.ignore, single.ignore)
        np.testing.assert_array_equal(together.meta.to_original, single.meta.to_original)
        for values, theirs in zip(together.persons, single.persons, strict=True):
            np.testing.assert_array_equal(values, theirs)
