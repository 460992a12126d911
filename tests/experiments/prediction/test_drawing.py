import numpy as np

from datamodules.skeleton import COCO
from experiments.prediction.drawing import draw, lay_over
from experiments.prediction.people import Maps, People


def people(scores: list[float], **changes: object) -> People:
    generator = np.random.default_rng(0)
    keypoints = generator.uniform(5, 55, (len(scores), 17, 3)).astype(np.float32)
    keypoints[..., 2] = 0.01  # a softmax peak: small, and still the person's best
    people = People(keypoints, np.array(scores, np.float32), np.ones(len(scores), np.float32), None, None)
    return people._replace(**changes)


def test_people_below_the_least_score_are_not_drawn() -> None:
    gray = np.full((60, 60, 3), 90, np.uint8)
    assert np.array_equal(draw(gray, people([0.2]), COCO, min_score=0.3), gray)
    both = draw(gray, people([0.4, 0.2]), COCO, min_score=0.3)
    one = people([0.4, 0.2])
    alone = draw(gray, one._replace(keypoints=one.keypoints[:1], scores=one.scores[:1]), COCO, min_score=0.3)
    assert np.array_equal(both, alone)
    assert (both != gray).any()
    assert (gray == 90).all()


def test_keypoints_far_below_the_best_are_not_drawn() -> None:
    gray = np.full((60, 60, 3), 90, np.uint8)
    found = people([1.0])
    found.keypoints[0, :, 2] = 0.001
    found.keypoints[0, 5] = (30, 30, 1.0)
    drawn = draw(gray, found, COCO, min_score=0.0)
    changed = np.argwhere((drawn != gray).any(axis=2))
    label = changed[:, 0] < 24  # the score stands above the one joint
    assert np.abs(changed[~label] - 30).max() <= 8


def test_boxes_and_masks_are_drawn_where_they_are() -> None:
    gray = np.full((60, 60, 3), 90, np.uint8)
    nobody = people([1.0])
    nobody.keypoints[...] = np.nan
    mask = np.zeros((60, 60), bool)
    mask[40:50, 40:50] = True
    masked = draw(gray, nobody._replace(masks=[mask]), COCO, min_score=0.0)
    changed = (masked != gray).any(axis=2)
    assert changed[40:50, 40:50].all()
    boxed = nobody._replace(boxes=np.array([[5, 30, 20, 50]], np.float32))
    assert (draw(gray, boxed, COCO, min_score=0.0) != gray).any()
    assert np.array_equal(draw(gray, boxed, COCO, min_score=0.0, with_boxes=False), gray)


def test_heat_lies_where_the_map_says() -> None:
    gray = np.full((64, 64, 3), 90, np.uint8)
    values = np.zeros((1, 16, 16), np.float32)
    values[0, 4, 10] = 1.0  # covers rows 16 to 20, columns 40 to 44 at 4 pixels a cell
    drawn = lay_over(gray, (Maps(values, np.array([[4.0, 0, 0], [0, 4.0, 0]])),))
    change = np.abs(drawn.astype(int) - 90).sum(axis=2)
    y, x = np.average(np.argwhere(change > 0), axis=0, weights=change[change > 0]) + 0.5
    assert abs(y - 18) < 0.6
    assert abs(x - 42) < 0.6
    blue, _, red = drawn[18, 42].astype(int)
    assert red > blue
    assert lay_over(gray, ()) is gray


def test_of_two_maps_the_stronger_is_shown_and_a_fields_direction_is_its_hue() -> None:
    gray = np.full((8, 8, 3), 90, np.uint8)
    unit = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    right, down = np.zeros((2, 2, 8, 8), np.float32)
    right[0], down[1] = 1.0, 0.5
    both = lay_over(gray, (Maps(right, unit), Maps(down, unit)))
    assert np.array_equal(both, lay_over(gray, (Maps(right, unit),)))
    assert both[4, 4, 2] > both[4, 4, 1]  # hue 0 is red
    only_down = lay_over(gray, (Maps(down, unit),))
    assert only_down[4, 4, 1] > only_down[4, 4, 0]  # 90 degrees lie between yellow and green
