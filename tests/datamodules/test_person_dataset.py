import json

import cv2
import numpy as np
import pytest
import torch

from datamodules.annotations import read_annotations
from datamodules.coco import CocoDataModule
from datamodules.collate import Collate
from datamodules.config import (
    AugmentationConfig,
    CropFill,
    CropShrink,
    DataConfig,
    DetectionsConfig,
    JointsOutside,
    OnBadImage,
    View,
    WarpPlace,
)
from datamodules.contracts import labelled_inside
from datamodules.geometry import compose, invert, translation, warp_image
from datamodules.person_dataset import PersonDataset, PersonWarp, crop_size_of
from datamodules.photographs import read_photograph
from datamodules.sampler import Draw
from datamodules.skeleton import COCO
from tests.datamodules.alone import alone

NOBODY = {"keypoints": [0] * 51, "num_keypoints": 0}
TALL = [100.0, 50.0, 40.0, 120.0]
WIDE = [30.0, 60.0, 150.0, 50.0]
STILL = AugmentationConfig(flip=0.0)
PAPER = AugmentationConfig(flip=0.5, rotation=30, scale=[0.75, 1.25], shift=0.05)


def dataset(root, *, train=False, seed=0, **changes) -> PersonDataset:
    annotations = read_annotations(root / "annotations/person_keypoints_val2017.json", root / "val2017", COCO)
    config = DataConfig(**{"view": View.person, "augmentation": STILL, **changes})
    return PersonDataset(annotations, config, COCO, train=train, seed=seed)


def in_photograph(sample) -> torch.Tensor:
    return sample.persons.keypoints[0] @ sample.meta.to_original[:, :2].T + sample.meta.to_original[:, 2]


def test_crop_by_the_fields_convention():
    assert crop_size_of(np.array([0, 0, 30, 80]), (256, 192), 1.25) == pytest.approx((100, 75))
    assert crop_size_of(np.array([0, 0, 90, 80]), (256, 192), 1.0) == pytest.approx((120, 90))


@pytest.mark.parametrize("bbox", [TALL, WIDE])
def test_one_sample(write_coco, person, bbox):
    data = dataset(write_coco([person(1, bbox=bbox)], {1: (200, 300)}))
    assert len(data) == 1
    sample = alone(data[0])
    assert sample.image.shape == (3, 256, 192)
    x0, y0, x1, y1 = sample.persons.boxes[0].tolist()
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((96, 128), abs=1e-3)
    assert max((x1 - x0) / 192, (y1 - y0) / 256) == pytest.approx(1 / 1.25, rel=1e-5)
    assert (x1 - x0) / (y1 - y0) == pytest.approx(bbox[2] / bbox[3], rel=1e-5)
    assert sample.persons.is_real.tolist() == [True]
    assert sample.meta.image_id == 1
    assert sample.meta.detection_score == 1
    assert not sample.ignore.any()


@pytest.mark.parametrize("size", [[256, 192], [384, 288], [96, 128]])
def test_keypoints_go_to_the_crop_and_back(write_coco, person, size):
    people = [person(1, bbox=TALL), person(2, bbox=WIDE), person(3, bbox=[3.3, 4.7, 11.1, 17.9], image_id=2)]
    root = write_coco(people, {1: (200, 300), 2: (900, 1300)})
    for train, augmentation in ((False, STILL), (True, PAPER)):
        data = dataset(root, train=train, crop_size=size, augmentation=augmentation)
        for index in range(3):
            sample = alone(data[Draw(index, 4)])
            mirrored = torch.linalg.det(sample.meta.to_original[:, :2]) < 0
            there = torch.from_numpy(data.annotations.keypoints[data.rows[index]])
            there = there[list(COCO.flip_permutation)] if mirrored else there
            seen = sample.persons.visibility[0] > 0
            assert seen.sum() >= 10
            assert (in_photograph(sample) - there)[seen].abs().max() < 1e-3


def test_pixels_are_those_of_the_photograph(write_coco, person):
    """A crop at scale 1 holds the photograph's own pixels."""
    root = write_coco([person(1, bbox=[40.0, 20.0, 96.0, 128.0])], {1: (200, 300)})
    sample = alone(dataset(root, crop_size=[128, 96], box_padding=1.0)[0])
    np.testing.assert_array_equal(pixels(sample), photograph_of(root)[20:148, 40:136])


def photograph_of(root) -> np.ndarray:
    return read_photograph(root / "val2017/1.png", None, 10**6)


def pixels(sample) -> np.ndarray:
    return sample.image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(("fill", "color"), [(CropFill.black, [0, 0, 0]), (CropFill.mean, [124, 116, 104])])
def test_fill_beyond_the_photograph(write_coco, person, fill, color):
    """A corner of the crop lies outside: black by default; inside, the fill makes no difference."""
    root = write_coco([person(1, bbox=[0.0, 0.0, 96.0, 128.0])], {1: (200, 300)})
    assert DataConfig().crop_fill is CropFill.black
    crop = pixels(alone(dataset(root, crop_size=[160, 120], crop_fill=fill)[0]))
    assert crop[0, 0].tolist() == color
    np.testing.assert_array_equal(crop[16:, 12:], photograph_of(root)[:144, :108])


def test_shrinking_is_warp_affine_unless_areas_are_averaged(write_coco, person):
    root = write_coco([person(1, bbox=[40.0, 30.0, 300.0, 400.0])], {1: (480, 640)})
    plain, averaged = (dataset(root, crop_size=[64, 48], crop_shrink=shrink)[0] for shrink in CropShrink)
    matrix = invert(plain.meta.to_original)
    indices = compose(translation(0.5, 0.5), matrix, translation(-0.5, -0.5))
    photograph = photograph_of(root)
    bilinear = cv2.warpAffine(photograph, indices, (48, 64), flags=cv2.INTER_LINEAR)
    apart = np.abs(plain.image.astype(int) - bilinear)  # four channels are warped with other rounding than three
    assert apart.max() <= 1
    np.testing.assert_array_equal(averaged.image, warp_image(photograph, matrix, (64, 48)))
    assert np.abs(averaged.image.astype(int) - bilinear).mean() > 10
    assert DataConfig().crop_shrink is CropShrink.bilinear


@pytest.mark.parametrize("place", list(WarpPlace))
def test_joints_outside_the_crop(write_coco, person, place):
    """Kept, they are where the photograph has them; inside the crop both ways are the same."""
    points = np.full((17, 3), 2.0)
    points[:, :2] = np.random.default_rng(0).uniform((60, 20), (180, 190), (17, 2)).round()
    root = write_coco([person(1, bbox=TALL, keypoints=points.ravel().tolist())], {1: (200, 300)})
    kept, dropped = (dataset(root, joints_outside=each, warp=place)[0] for each in JointsOutside)
    assert kept.persons.visibility.tolist() == [[2] * 17]
    there = kept.persons.keypoints[0] @ kept.meta.to_original[:, :2].T + kept.meta.to_original[:, 2]
    np.testing.assert_allclose(there, points[:, :2] + 0.5, atol=1e-3)
    is_inside = dropped.persons.visibility[0] > 0
    x, y = kept.persons.keypoints[0].T
    np.testing.assert_array_equal(is_inside, (x >= 0) & (x < 192) & (y >= 0) & (y < 256))
    assert 0 < is_inside.sum() < 17
    np.testing.assert_array_equal(dropped.persons.keypoints[0, is_inside], kept.persons.keypoints[0, is_inside])
    batch = Collate(pad_multiple=32)([kept]) if place is WarpPlace.worker else Collate(32).unwarped([kept]).batch
    assert labelled_inside(batch)[0, 0].tolist() == is_inside.tolist()


def test_who_makes_a_sample(write_coco, person):
    root = write_coco(
        [
            person(1, bbox=TALL),
            person(2, bbox=WIDE, **NOBODY),
            person(3, bbox=WIDE, iscrowd=1),
            person(4, bbox=WIDE, image_id=2),
        ],
        {1: (200, 300), 2: (200, 300), 3: (200, 300)},
    )
    data = dataset(root)
    assert [int(data[index].meta.image_id) for index in range(len(data))] == [1, 2]
    assert [int(data[index].meta.sample_id) for index in range(len(data))] == [0, 1]
    assert data.annotations.image_ids.tolist() == [1, 2, 3]


def test_augmentation_is_the_papers_and_repeats_by_seed_epoch_and_sample(write_coco, person):
    root = write_coco([person(1, bbox=TALL)], {1: (200, 300)})
    data, again = (dataset(root, train=True, seed=3, augmentation=PAPER) for _ in range(2))
    plain = alone(dataset(root)[0]).meta.to_original.double()
    factors, angles, shifts, mirrors = [], [], [], 0
    for epoch in range(60):
        sample = alone(data[Draw(0, epoch)])
        assert torch.equal(sample.image, alone(again[Draw(0, epoch)]).image)
        matrix = sample.meta.to_original.double()
        determinant = torch.linalg.det(matrix[:, :2])
        mirrors += int(determinant < 0)
        factors.append(float((torch.linalg.det(plain[:, :2]) / determinant.abs()).sqrt()))
        angles.append(float(torch.atan2(matrix[0, 1], matrix[1, 1]).rad2deg()))
        center = torch.linalg.solve(matrix[:, :2], torch.tensor([120.0, 110.0]).double() - matrix[:, 2])
        shifts.append(((center - torch.tensor([96.0, 128.0])) / torch.tensor([192.0, 256.0])).tolist())
    assert 15 < mirrors < 45
    for values, low, high in ((factors, 0.75, 1.25), (angles, -30, 30), (np.ravel(shifts), -0.05, 0.05)):
        spread = high - low
        assert low - 1e-4 <= min(values) < low + 0.15 * spread
        assert high - 0.15 * spread < max(values) <= high + 1e-4


def test_half_bodies(write_coco, person):
    points = np.zeros((17, 3))
    points[:, 2] = 2
    points[:11, :2] = np.random.default_rng(0).uniform((100, 50), (140, 80), (11, 2))
    points[11:, :2] = np.random.default_rng(1).uniform((100, 125), (140, 170), (6, 2))
    root = write_coco([person(1, bbox=TALL, keypoints=points.ravel().tolist())], {1: (200, 300)})
    halves = AugmentationConfig(flip=0.0, half_body=1.0)
    data = dataset(root, train=True, augmentation=halves, joints_outside=JointsOutside.drop)
    seen = {tuple((data[Draw(0, epoch)].persons.visibility[0] > 0).tolist()) for epoch in range(12)}
    upper = tuple([True] * 11 + [False] * 6)
    assert seen == {upper, tuple(not is_upper for is_upper in upper)}
    never = dataset(root, train=True)[Draw(0, 0)]
    assert never.persons.visibility.min() > 0


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (0.69, 0.69), (1.0, 1.0)])
def test_the_upper_half_is_taken_with_its_probability(probability, share):
    config = DataConfig(crop_size=[64, 48])
    warp = PersonWarp(config, AugmentationConfig(flip=0.0, half_body=1.0, half_body_upper=probability))
    warp.set_random_seed(0)
    lower, upper = np.array([[20.0, 60.0, 40.0, 90.0]]), np.array([[20.0, 10.0, 40.0, 40.0]])
    given = {"person_box": upper[0], "half_body_boxes": np.concatenate([lower, upper])}

    def center_y(matrix):
        return (32 - matrix[1, 2]) / matrix[1, 1]

    centers = [center_y(warp.draw(given)[0]) for _ in range(1000)]
    assert np.mean(np.isclose(centers, 25.0)) == pytest.approx(share, abs=0.04)
    for only in (lower, upper):  # a person with one half that can be taken
        matrix, _, _ = warp.draw({**given, "half_body_boxes": only})
        assert center_y(matrix) == pytest.approx(only[0, 1::2].mean())


def detections(root, entries) -> DetectionsConfig:
    file = root / "detections.json"
    file.write_text(json.dumps(entries))
    return DetectionsConfig(file=str(file))


def test_evaluation_on_detected_boxes(write_coco, person):
    root = write_coco([person(1, bbox=TALL)], {1: (200, 300), 2: (200, 300)})
    entry = {"image_id": 2, "category_id": 1, "bbox": WIDE, "score": 0.25}
    found = detections(root, [entry])
    data = dataset(root, detections=found)
    sample = alone(data[0])
    assert len(data) == 1
    assert sample.meta.image_id == 2
    assert sample.meta.detection_score == 0.25
    assert not sample.persons.visibility.any()
    assert sample.persons.is_real.tolist() == [True]
    corners = sample.persons.boxes.view(2, 2) @ sample.meta.to_original[:, :2].T + sample.meta.to_original[:, 2]
    assert corners.flatten().tolist() == pytest.approx([30, 60, 180, 110], abs=1e-3)
    assert dataset(root, train=True, detections=found)[0].meta.image_id == 1


def test_nobody_to_evaluate_is_one_sample_that_is_not_real(write_coco, person):
    root = write_coco([person(1, **NOBODY)])
    sample = alone(dataset(root)[0])
    assert len(dataset(root)) == 1
    assert not sample.persons.is_real.any()
    assert sample.image.shape == (3, 256, 192)
    with pytest.raises(ValueError, match="nobody to train on"):
        dataset(root, train=True)
    assert not len(dataset(root, detections=detections(root, []))[0].persons.areas)


def test_batches_of_the_datamodule(write_coco, person):
    people = [person(number, bbox=TALL, image_id=1 + number // 3) for number in range(6)]
    root = write_coco(people, {1: (200, 300), 2: (200, 300)})
    config = DataConfig(root=str(root), view=View.person, crop_size=[128, 96], batch_size=4, num_workers=0)
    data = CocoDataModule(config, COCO)
    data.setup()
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert batch.images.shape == (4, 3, 128, 96)
    assert batch.images.dtype == torch.float32
    assert batch.persons.keypoints.shape == (4, 1, 17, 2)
    assert batch.ignore.shape == (4, 32, 24)
    assert len(data.train_set) == 6
    assert data.val_image_ids == [1, 2]


@pytest.mark.parametrize(
    ("config", "given"),
    [
        (DataConfig(view=View.person), True),
        (DataConfig(view=View.person, detections=DetectionsConfig(file="boxes.json")), False),
        (DataConfig(view=View.image), False),
    ],
)
def test_people_are_given_by_ground_truth_boxes_alone(config, given):
    assert CocoDataModule(config, COCO).val_people_are_given is given


def test_an_unreadable_photograph_is_replaced_in_training(write_coco, person):
    people = [person(1, bbox=TALL), person(2, bbox=TALL, image_id=2)]
    root = write_coco(people, {1: (200, 300), 2: (200, 300)})
    (root / "val2017/1.png").write_text("")
    data = dataset(root, train=True, on_bad_image=OnBadImage.skip)
    assert data[0].meta.image_id == 2
    assert data.skipped.tolist() == [True, False]
    blank = dataset(root, on_bad_image=OnBadImage.skip)[0]
    assert blank.meta.image_id == 1
    assert not len(blank.persons.areas)


def test_a_replacement_is_a_person_in_their_own_photograph(write_coco, person):
    """Also where photographs without people lie between, and the next person's cannot be read either."""
    boxes = {1: [100.0, 50, 40, 120], 3: [200.0, 60, 40, 120], 4: [20.0, 40, 40, 120]}
    people = [person(number, bbox=box, image_id=number) for number, box in boxes.items()]
    root = write_coco(people, dict.fromkeys((1, 2, 3, 4), (200, 300)))
    for number in (1, 3):
        (root / f"val2017/{number}.png").write_text("")
    data = dataset(root, train=True, on_bad_image=OnBadImage.skip, train_without_people=True)
    for index in range(3):
        sample = data[index]
        assert sample.meta.image_id == 4
        assert sample.meta.sample_id == 2
        seen = sample.persons.visibility[0] > 0
        expected = np.array(people[2]["keypoints"]).reshape(17, 3)[:, :2] + 0.5
        np.testing.assert_allclose(in_photograph(sample)[seen], expected[seen], atol=1e-3)
        assert seen.sum() > 10
