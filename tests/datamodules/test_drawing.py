import numpy as np
import pytest

from datamodules.drawing import PERSON_COLORS, SIDE_COLORS, draw_people, shade
from datamodules.skeleton import COCO, Skeleton

ARM = Skeleton(
    name="arm",
    joints=("nose", "left_wrist", "right_wrist"),
    limbs=(("nose", "left_wrist"), ("left_wrist", "right_wrist")),
    sigmas=(0.05, 0.05, 0.05),
)


def grey(height: int = 60, width: int = 80) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def triangle() -> np.ndarray:
    return np.array([[[40.5, 10.5], [10.5, 40.5], [70.5, 40.5]]])


def test_image_is_copied_and_people_are_drawn_where_they_are() -> None:
    image = grey()
    drawn = draw_people(image, triangle(), skeleton=ARM, thickness=2)
    assert (image == 128).all()
    assert tuple(drawn[10, 40]) == SIDE_COLORS["middle"]
    assert tuple(drawn[40, 10]) == SIDE_COLORS["left"]
    assert tuple(drawn[40, 70]) == SIDE_COLORS["right"]
    assert tuple(drawn[40, 40]) == SIDE_COLORS["middle"]  # a limb from left to right
    assert (drawn[50:] == 128).all()


def test_continuous_coordinates_are_centred_on_the_drawing() -> None:
    drawn = draw_people(grey(21, 21), np.full((1, 3, 2), 10.5), np.array([[2, 0, 0]]), skeleton=ARM)
    change = np.abs(drawn.astype(float) - 128).sum(-1)
    for axis in (0, 1):
        centroid = (change.sum(1 - axis) * (np.arange(21) + 0.5)).sum() / change.sum()
        assert centroid == pytest.approx(10.5, abs=0.1)


def test_visibility_score_and_nan_hide_joints() -> None:
    image = grey()
    hidden = draw_people(image, triangle(), np.zeros((1, 3), np.uint8), skeleton=ARM)
    low = draw_people(image, np.dstack([triangle(), np.full((1, 3, 1), 0.2)]), skeleton=ARM, min_score=0.3)
    lost = draw_people(image, np.full((1, 3, 2), np.nan), skeleton=ARM, boxes=np.full((1, 4), np.nan))
    for drawn in (hidden, low, lost):
        assert (drawn == image).all()


def test_occluded_joint_is_hollow() -> None:
    drawn = draw_people(grey(), triangle(), np.array([[1, 0, 0]]), skeleton=ARM, thickness=6)
    assert tuple(drawn[10, 40]) == (128, 128, 128)
    assert (drawn != 128).any()


def test_far_coordinates_do_not_overflow() -> None:
    points = triangle()
    points[0, 1] = 1e30
    assert draw_people(grey(), points, skeleton=ARM).shape == (60, 80, 3)


def test_boxes_masks_and_scores_leave_their_mark() -> None:
    nobody = np.zeros((1, 17), np.uint8)
    points = np.zeros((1, 17, 2))
    boxes = np.array([[10, 30, 40, 50]])
    boxed = draw_people(grey(), points, nobody, boxes=boxes)
    assert (boxed[30, 20] != 128).any()
    labelled = draw_people(grey(), points, nobody, boxes=boxes, scores=np.array([0.9]))
    assert (labelled[20:30] != boxed[20:30]).any()
    half = np.zeros((1, 2, 2), bool)
    half[0, :, 0] = True
    masked = draw_people(grey(), points, nobody, masks=half)
    assert (masked[:, :39] != 128).any(-1).all()
    assert (masked[:, 42:] == 128).all()


def test_nobody_gives_a_plain_copy() -> None:
    image = grey()
    assert (draw_people(image, np.zeros((0, 17, 2)), np.zeros((0, 17))) == image).all()
    assert (draw_people(image, np.zeros((0,))) == image).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keypoints": np.zeros((1, 16, 2))}, "17"),
        ({"visibility": np.zeros((2, 17))}, "visibility"),
        ({"scores": np.zeros(2)}, "scores: 2 entries for 1 people"),
        ({"image": np.zeros((4, 4, 3))}, "uint8"),
    ],
)
def test_wrong_arrays_are_named(arguments: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_people(**{"image": grey(), "keypoints": np.zeros((1, COCO.num_keypoints, 2)), **arguments})


def test_shade_darkens_the_region_alone_at_any_resolution() -> None:
    region = np.zeros((15, 20), bool)
    region[:, :10] = True
    shaded = shade(grey(), region)
    assert (shaded[:, 40:] == 128).all()
    assert (shaded[:, :40] != 128).all()
    full = np.zeros((60, 80), bool)
    full[:, :40] = True
    assert (shade(grey(), full) == shaded).all()


def test_the_first_person_lies_on_top() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    both = np.full((2, 17, 2), 20.0)
    boxes, masks = np.array([[10, 20, 30, 38], [10, 20, 30, 38]]), np.ones((2, 40, 40), bool)
    label = draw_people(image, both, np.zeros((2, 17)), boxes=boxes, scores=np.array([0.9, 0.1]))[18, 11]
    assert tuple(label) == PERSON_COLORS[0]
    tinted = draw_people(image, both, np.zeros((2, 17)), masks=masks)[5, 5]
    alone = draw_people(image, both[:1], np.zeros((1, 17)), masks=masks[:1])[5, 5]
    assert np.abs(tinted.astype(float) - alone).sum() < np.abs(tinted.astype(float) - PERSON_COLORS[1]).sum()
