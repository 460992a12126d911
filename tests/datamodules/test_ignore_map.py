import numpy as np
import pytest

from datamodules import geometry as g
from datamodules.ignore_map import fill_box
from datamodules.segments import fill_polygon


def by_polygon(shape, box, matrix):
    canvas = np.zeros(shape, dtype=bool)
    fill_polygon(canvas, g.map_points(matrix, g.corners(box[None]))[0] / 4)
    return canvas


@pytest.mark.parametrize("seed", range(4))
def test_an_upright_box_is_its_polygon(seed):
    """Cell by cell: boxes of all sizes, in part outside or all of it, mirrored, and with edges between pixels."""
    generator = np.random.default_rng(seed)
    for number in range(800):
        shape = tuple(generator.integers(1, 60, 2).tolist())
        box = generator.uniform(-40, 200, 4)
        box[2:] = box[:2] + generator.uniform(0, 200 if number % 2 else 5, 2)
        box = (np.round(box * 8) / 8 if number % 3 == 0 else box).astype(np.float32)
        scale = (1, 1) if number % 5 == 0 else generator.uniform(0.3, 3, 2) * generator.choice([-1, 1], 2)
        matrix = g.compose(g.scaling(*scale), g.translation(*generator.uniform(-30, 150, 2)))
        canvas = np.zeros(shape, dtype=bool)
        fill_box(canvas, box, matrix)
        np.testing.assert_array_equal(canvas, by_polygon(shape, box, matrix))


def test_a_turned_box_is_its_polygon_and_what_was_set_stays():
    box = np.array([10, 20, 60, 50], np.float32)
    canvas = np.zeros((30, 40), dtype=bool)
    canvas[-1] = True
    for degrees in (0, 30, 90):
        fill_box(canvas, box, g.rotation(degrees))
    expected = sum(by_polygon((30, 40), box, g.rotation(degrees)) for degrees in (0, 30, 90)) > 0
    expected[-1] = True
    np.testing.assert_array_equal(canvas, expected)
