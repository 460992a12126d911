import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from datamodules.synthetic import Person, render_scene
from datamodules.synthetic.coco_format import annotation_of, polygons, run_lengths


def blob(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(60, 80)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 4) > 0.02


def raster(segmentation: object, shape: tuple[int, int]) -> np.ndarray:
    encoded = rle.frPyObjects(segmentation, *shape)
    return rle.decode(rle.merge(encoded) if isinstance(encoded, list) else encoded).astype(bool)


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_are_exact(seed: int) -> None:
    mask = blob(seed)
    assert (raster(run_lengths(mask), mask.shape) == mask).all()


def test_run_lengths_of_corners() -> None:
    for mask in (np.zeros((3, 4), bool), np.ones((3, 4), bool), np.eye(4, dtype=bool)):
        assert (raster(run_lengths(mask), mask.shape) == mask).all()


@pytest.mark.parametrize("seed", range(4))
def test_polygons_with_holes_rasterise_to_the_mask(seed: int) -> None:
    mask = blob(seed)
    drawn = raster(polygons(mask), mask.shape)
    assert np.count_nonzero(drawn ^ mask) < 0.02 * mask.sum()


def test_a_hole_stays_a_hole() -> None:
    mask = np.zeros((40, 40), bool)
    mask[5:35, 5:35] = True
    mask[12:20, 12:20] = mask[24:30, 10:30] = False
    drawn = raster(polygons(mask), mask.shape)
    assert not drawn[15, 15]
    assert not drawn[27, 20]
    assert abs(int(drawn.sum()) - int(mask.sum())) <= 8
    assert len(polygons(mask)) == 1


def test_annotations_of_scenes_agree_with_pycocotools() -> None:
    seen = 0
    for seed in range(40):
        for person in render_scene(np.random.default_rng([2, seed]), 128).people:
            annotation = annotation_of(person, 1, 2)
            drawn = raster(annotation["segmentation"], person.mask.shape)
            assert abs(int(drawn.sum()) - annotation["area"]) <= max(6, 0.03 * annotation["area"])
            x, y, width, height = annotation["bbox"]
            outside = person.mask.copy()
            outside[y : y + height, x : x + width] = False
            assert not outside.any()
            assert person.mask[y].any()
            assert person.mask[:, x + width - 1].any()
            seen += 1
    assert seen > 60


def test_keypoints_are_pixel_indices() -> None:
    points, visibility = np.zeros((17, 2)), np.zeros(17, np.uint8)
    points[3], visibility[3] = (4.5, 7.254), 2
    annotation = annotation_of(Person(points, visibility, np.ones((9, 9), bool)), 1, 2)
    assert annotation["keypoints"][9:12] == [4, 6.75, 2]
    assert annotation["num_keypoints"] == 1
    assert sum(annotation["keypoints"]) == 12.75
