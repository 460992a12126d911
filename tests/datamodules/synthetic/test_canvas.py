import numpy as np
import pytest

from datamodules.synthetic.canvas import Canvas, fixed
from datamodules.synthetic.coat import Light, coats_of, form_of
from datamodules.synthetic.wardrobe import Material, Pattern

FROM_THE_LEFT = Light(-0.7, 0.0, 0.7, ambient=0.4)
GREY = Material((200, 200, 200), (20, 20, 20))


def canvas() -> Canvas:
    return Canvas(np.zeros((80, 80, 3), np.uint8), FROM_THE_LEFT)


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def paint(surface: Canvas, outline: np.ndarray, owner: int, material: Material = GREY, shadow: float = 0.0) -> None:
    axis = np.array([[[40.0, 0.0], [40.0, 80.0]]])
    form = form_of(outline, np.array([0]), axis)
    coat = coats_of(surface.light, form, [0], [material], unit=80.0)[0]
    surface.paint([fixed(outline)], form.corners[0], coat, owner, shadow)


def test_a_body_is_lit_from_the_side_of_the_light_and_owns_its_pixels() -> None:
    surface = canvas()
    paint(surface, box(20, 10, 60, 70), owner=65)
    row = surface.image[40, :, 0].astype(int)
    assert row[30] > row[40] > row[50] > 0
    assert (surface.owner[12:68, 22:58] == 65).all()
    assert (surface.owner[:, :18] == 0).all()
    assert (surface.image[:, 63:] == 0).all()


def test_area_is_right_to_the_rim() -> None:
    surface = canvas()
    paint(surface, box(10, 10, 60, 40), owner=65)
    assert np.count_nonzero(surface.owner) == pytest.approx(50 * 30, rel=0.06)


def test_what_lies_beyond_the_canvas_is_cut_or_left_out() -> None:
    surface = canvas()
    paint(surface, box(-1e4, 100, -9e3, 200), owner=65)
    assert not surface.owner.any()
    paint(surface, box(-100, -100, 200, 200), owner=65)
    assert (surface.owner == 65).all()


def test_the_contact_shadow_falls_on_the_same_person_alone() -> None:
    surface = canvas()
    surface.image[:] = 200
    surface.owner[:, :40] = 64 + 1
    surface.owner[:, 40:] = 128 + 1
    paint(surface, box(30, 30, 50, 50), owner=64 + 2, shadow=4)
    assert (surface.image[40, 26:29] < 200).all()
    assert (surface.image[40, 54:] == 200).all()


@pytest.mark.parametrize("pattern", [Pattern.hoops, Pattern.stripes, Pattern.checks, Pattern.block])
def test_patterns_show_both_colours(pattern: Pattern) -> None:
    surface = canvas()
    paint(surface, box(10, 0, 70, 80), owner=65, material=Material((200, 200, 200), (20, 20, 20), pattern, period=0.1))
    inside = surface.image[2:78, 20:60, 0]
    assert (inside > 70).mean() > 0.15
    assert (inside < 30).mean() > 0.15
    varies_down, varies_across = np.ptp(inside[:, 20]) > 100, np.ptp(inside[4, 12:28]) > 100
    assert varies_down == (pattern is not Pattern.stripes)
    assert varies_across == (pattern in (Pattern.stripes, Pattern.checks))


def test_a_sliver_is_painted_flat() -> None:
    surface = canvas()
    paint(surface, box(40, 10, 42, 70), owner=65)
    assert surface.owner[40, 40] == 65
    assert len(np.unique(surface.image[surface.owner == 65], axis=0)) == 1


def test_the_picture_averages_the_canvas() -> None:
    surface = canvas()
    surface.image[::2] = 100
    assert (surface.picture() == 50).all()
    assert surface.picture().shape == (40, 40, 3)
