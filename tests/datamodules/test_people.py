import numpy as np

from datamodules import geometry as g
from datamodules.augmentation import build_pipeline, start
from datamodules.config import AugmentationConfig, DataConfig, Resize
from datamodules.people import People, Placed, warp_people
from datamodules.skeleton import COCO


def people(n=4, seed=0):
    generator = np.random.default_rng(seed)
    keypoints = generator.uniform(0, [90, 60], (n, 17, 2)).astype(np.float32)
    visibility = generator.integers(0, 3, (n, 17)).astype(np.uint8)
    keypoints[visibility == 0] = 0
    low = generator.uniform(0, [40, 30], (n, 2))
    boxes = np.concatenate([low, low + generator.uniform(5, 25, (n, 2))], axis=1).astype(np.float32)
    return People(keypoints, visibility, boxes, generator.uniform(10, 500, n).astype(np.float32))


def warp_all(group, matrix, hw, mirrored=False):
    """All of one photograph."""
    return warp_people(
        group, np.zeros(len(group.areas), np.int64), [Placed(matrix, hw, mirrored)], COCO.flip_permutation
    )


def test_people_lead_back_to_the_photograph():
    """Every keypoint kept, mapped by the inverse, is where it was: within a thousandth of a pixel, in f32."""
    wild = AugmentationConfig(flip=0.5, rotation=45, scale=[0.75, 1.5], shift=0.1, shift_pixels=10)
    pipeline = build_pipeline(DataConfig(resize=Resize.crop, size=100, augmentation=wild), train=True)
    keypoints, _, _, areas = group = people()
    for seed in range(20):
        pipeline.set_random_seed(seed)
        drawn = pipeline(**start(np.zeros((60, 90, 3), np.uint8)))
        permutation = COCO.flip_permutation if drawn["mirrored"] else None
        hw = drawn["image"].shape[:2]
        warped = warp_all(group, drawn["matrix"], hw, drawn["mirrored"])
        back = g.map_points(g.invert(drawn["matrix"]).astype(np.float32), warped.keypoints)
        expected = keypoints[:, permutation] if permutation else keypoints
        kept = warped.visibility > 0
        np.testing.assert_allclose(back[kept], expected[kept], atol=1e-3)
        assert (warped.keypoints[~kept] == 0).all()
        assert (warped.keypoints[kept] >= 0).all()
        assert (warped.keypoints[kept] < (hw[1], hw[0])).all()
        assert (warped.boxes[:, 2:] >= warped.boxes[:, :2]).all()
        np.testing.assert_allclose(warped.areas, areas * abs(g.determinant(drawn["matrix"])), rtol=1e-5)


def test_mirroring_people_exchanges_sides():
    keypoints, visibility, boxes, _ = group = people()
    matrix = g.compose(g.scaling(-1, 1), g.translation(90, 0))
    warped = warp_all(group, matrix, (60, 90), mirrored=True)
    left, right = COCO.joints.index("left_wrist"), COCO.joints.index("right_wrist")
    np.testing.assert_array_equal(warped.visibility[:, left], visibility[:, right])
    labelled = visibility[:, right] > 0
    np.testing.assert_allclose(warped.keypoints[labelled, left, 0], 90 - keypoints[labelled, right, 0], rtol=1e-6)
    np.testing.assert_allclose(warped.boxes[:, [2, 1, 0, 3]], boxes * [-1, 1, -1, 1] + [90, 0, 90, 0], rtol=1e-5)
    twice = warp_all(warped, matrix, (60, 90), mirrored=True)
    np.testing.assert_array_equal(twice.visibility, visibility)
    np.testing.assert_allclose(twice.keypoints, keypoints, atol=1e-4)


def test_keypoints_on_the_border():
    """0 is inside, the width is not: pixel W does not exist."""
    keypoints = np.zeros((1, 17, 2), np.float32)
    keypoints[0, :4] = [[0, 0], [89.999, 59.999], [90, 10], [10, 60]]
    visibility = np.array([[2, 1, 2, 2] + [0] * 13], np.uint8)
    box = np.array([[0, 0, 90, 60]], np.float32)
    warped = warp_all(People(keypoints, visibility, box, np.ones(1, np.float32)), g.identity(), (60, 90))
    assert warped.visibility[0, :4].tolist() == [2, 1, 0, 0]


def test_nobody():
    warped = warp_all(people(0), g.identity(), (60, 90))
    assert warped.keypoints.shape == (0, 17, 2)
    assert warped.boxes.shape == (0, 4)


def test_people_of_many_photographs_are_those_of_each():
    """To the last bit, whoever else is in the batch; photographs without people between them."""
    turned = g.compose(g.rotation(20), g.scaling(-1.3, 1.3), g.translation(90, 5))
    placed = [
        Placed(g.scaling(0.7, 0.8), (50, 70), False),
        Placed(turned, (64, 64), True),
        Placed(g.identity(), (60, 90), False),
        Placed(g.translation(-30, -20), (30, 40), False),
    ]
    groups = [people(3, seed=1), people(2, seed=2), people(0), people(5, seed=3)]
    which = np.repeat(np.arange(4), [3, 2, 0, 5])
    together = warp_people(
        People(*(np.concatenate(values) for values in zip(*groups, strict=True))), which, placed, COCO.flip_permutation
    )
    for number, (group, each) in enumerate(zip(groups, placed, strict=True)):
        single = warp_all(group, *each)
        for values, theirs in zip(together.select(np.flatnonzero(which == number)), single, strict=True):
            assert values.dtype == theirs.dtype
            np.testing.assert_array_equal(values, theirs)
    assert not np.signbit(together.keypoints).any()
