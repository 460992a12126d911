import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import geometry as g


def test_compose_applies_from_left_to_right():
    matrix = g.compose(g.translation(1, 0), g.scaling(2, 3), g.translation(0, 5))
    np.testing.assert_allclose(g.map_points(matrix, np.array([[1.0, 1.0]])), [[4.0, 8.0]])


def test_rotation_is_clockwise_on_the_screen():
    np.testing.assert_allclose(g.map_points(g.rotation(90), np.array([[1.0, 0.0]])), [[0.0, 1.0]], atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    angle=st.floats(-180, 180),
    scale=st.floats(0.1, 10),
    dx=st.floats(-500, 500),
    x=st.floats(-2000, 2000),
    y=st.floats(-2000, 2000),
)
def test_inverse_leads_back(angle, scale, dx, x, y):
    matrix = g.compose(g.scaling(-scale, scale), g.rotation(angle), g.translation(dx, 3.0))
    point = np.array([x, y])
    np.testing.assert_allclose(g.map_points(g.invert(matrix), g.map_points(matrix, point)), point, atol=1e-7)
    assert g.determinant(matrix) == pytest.approx(-scale * scale)


def test_singular_map_is_refused():
    with pytest.raises(ValueError, match="no inverse"):
        g.invert(g.scaling(0, 1))


def test_box_of_a_rotated_box_encloses_it():
    np.testing.assert_allclose(
        g.map_boxes(g.rotation(90), np.array([[0.0, 0.0, 4.0, 2.0]])), [[-2, 0, 0, 4]], atol=1e-12
    )


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def test_identity_returns_the_same_pixels(picture):
    np.testing.assert_array_equal(g.warp_image(picture, g.identity(), (30, 40)), picture)


def test_mirror_is_x_to_width_minus_x(picture):
    mirror = g.compose(g.scaling(-1, 1), g.translation(40, 0))
    np.testing.assert_array_equal(g.warp_image(picture, mirror, (30, 40)), picture[:, ::-1])


def test_whole_translation_moves_pixels_and_fills(picture):
    moved = g.warp_image(picture, g.translation(3, 2), (30, 40), (7, 8, 9))
    np.testing.assert_array_equal(moved[2:, 3:], picture[:-2, :-3])
    assert (moved[:2] == (7, 8, 9)).all()


def test_resize_and_warp_agree(picture):
    smooth = cv2.GaussianBlur(picture, (9, 9), 3)
    resized = g.warp_image(smooth, g.scaling(1.5, 1.5), (45, 60))
    warped = g.warp_image(smooth, g.compose(g.scaling(1.5, 1.5), g.translation(1e-4, 0)), (45, 60))
    assert np.abs(resized[2:-2, 2:-2].astype(int) - warped[2:-2, 2:-2]).max() <= 3


def test_strong_shrinking_averages_instead_of_aliasing():
    stripes = np.zeros((80, 80), dtype=np.uint8)
    stripes[:, ::2] = 255
    for matrix in (g.scaling(0.1, 0.1), g.compose(g.scaling(0.1, 0.1), g.rotation(1), g.translation(0.1, 0))):
        shrunk = g.warp_image(stripes, matrix, (8, 8))
        assert np.abs(shrunk[2:6, 2:6].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("shrink", [1.0, 0.7, 0.3, 0.12, 2.5])
@pytest.mark.parametrize("angle", [0.0, 33.0])
def test_a_dot_lands_where_its_point_goes(shrink, angle):
    """A blob painted around (41.5, 27.5) has its centre of mass at the mapped point, within a tenth of a pixel."""
    y, x = np.mgrid[:70, :90] + 0.5
    blob = np.round(255 * np.exp(-((x - 41.5) ** 2 + (y - 27.5) ** 2) / (2 * 6.0**2))).astype(np.uint8)
    matrix = g.compose(g.translation(-45, -35), g.scaling(shrink, shrink), g.rotation(angle), g.translation(100, 90))
    warped = g.warp_image(blob, matrix, (180, 200)).astype(float)
    y, x = np.mgrid[:180, :200] + 0.5
    centre = [(warped * x).sum() / warped.sum(), (warped * y).sum() / warped.sum()]
    np.testing.assert_allclose(centre, g.map_points(matrix, np.array([41.5, 27.5])), atol=0.1)


def test_colours_are_warped_as_each_alone():
    picture = np.random.default_rng(3).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    matrix = g.compose(g.translation(-20, -10), g.rotation(30), g.scaling(1.3, 1.3), g.translation(15, 18))
    warped = g.warp_image(picture, matrix, (30, 40), (7, 8, 9))
    alone = [g.warp_image(np.ascontiguousarray(picture[..., c]), matrix, (30, 40), (7 + c,)) for c in range(3)]
    assert warped.shape == (30, 40, 3)
    # OpenCV rounds one channel otherwise than several.
    assert np.abs(warped.astype(int) - np.stack(alone, axis=-1)).max() <= 4
    three = cv2.warpAffine(
        picture,
        g.compose(g.translation(0.5, 0.5), matrix, g.translation(-0.5, -0.5)),
        (40, 30),
        flags=cv2.INTER_LINEAR,
        borderValue=(7, 8, 9),
    )
    np.testing.assert_array_equal(warped, three)


def test_covered_cells_have_their_centre_in_the_picture():
    matrix = g.compose(g.translation(-20, -10), g.rotation(30), g.translation(14, 12))
    covered = g.covered_cells(matrix, (22, 36), (25, 30))
    for row, column in np.ndindex(25, 30):
        x, y = g.map_points(g.invert(matrix), np.array([column + 0.5, row + 0.5]))
        assert covered[row, column] == (0 <= x <= 36 and 0 <= y <= 22)
    assert 0.3 < covered.mean() < 0.9
    assert g.covered_cells(g.identity(), (4, 6), (4, 6)).all()


def test_placing_is_its_four_steps():
    """To the last bit, and no zero is negative."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        scale, center, target = generator.uniform(-3, 3, (3, 2)).tolist()
        degrees = float(generator.choice([0.0, 90.0, generator.uniform(-180, 180)]))
        steps = (g.translation(-center[0], -center[1]), g.scaling(*scale), g.rotation(degrees), g.translation(*target))
        placed = g.placing(tuple(scale), degrees, tuple(center), tuple(target))
        np.testing.assert_array_equal(placed, g.compose(*steps))
        np.testing.assert_array_equal(np.signbit(placed), np.signbit(g.compose(*steps)))


def test_each_group_of_points_by_its_own_map():
    generator = np.random.default_rng(0)
    matrices, points = generator.normal(size=(5, 2, 3)), generator.normal(size=(5, 7, 2)).astype(np.float32)
    boxes = generator.uniform(0, 9, (5, 4))
    for number in range(5):
        np.testing.assert_array_equal(
            g.map_points(matrices, points)[number], g.map_points(matrices[number], points[number])
        )
        np.testing.assert_array_equal(
            g.map_boxes(matrices, boxes)[number], g.map_boxes(matrices[number], boxes[number : number + 1])[0]
        )
    hw = np.array([[3, 4], [9, 2], [5, 5], [1, 8], [4, 3]])
    np.testing.assert_array_equal(g.clip_boxes(boxes, hw)[1], g.clip_boxes(boxes[1:2], (9, 2))[0])


@pytest.mark.parametrize("hw", [(240, 320), (240, 322), (241, 320)])
@pytest.mark.parametrize("factor", [6.0, 7.3, 9.1])
def test_a_picture_shrunk_far_keeps_the_means_of_its_areas(hw, factor):
    smooth = cv2.resize(np.random.default_rng(2).integers(0, 256, (24, 32, 3), dtype=np.uint8), hw[::-1])
    size = (round(hw[0] / factor), round(hw[1] / factor))
    shrunk = g.warp_image(smooth, g.scaling(size[1] / hw[1], size[0] / hw[0]), size)
    exact = cv2.resize(smooth.astype(np.float64), size[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - exact).mean() < 0.9
    assert np.abs(shrunk.mean() - exact.mean()) < 0.2
