import numpy as np
import pytest

from datamodules.contact_sheet import contact_sheet


def test_it_places_every_image() -> None:
    images = [np.full((20, 40, 3), value, np.uint8) for value in (50, 100, 150)]
    sheet = contact_sheet(images, 2, gap=2)
    assert sheet.shape == (2 * 22 + 2, 2 * 42 + 2, 3)
    for value, (y, x) in zip((50, 100, 150), ((12, 20), (12, 62), (34, 20)), strict=True):
        assert (sheet[y, x] == value).all()
    small = contact_sheet([*images, np.full((60, 30, 3), 200, np.uint8)], 4, cell=30, captions=["a", "b", "c" * 99, ""])
    assert small.shape == (30 + 18 + 8, 4 * 34 + 4, 3)


def test_it_refuses_nothing_and_odd_captions() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([], 2)
    with pytest.raises(ValueError, match="captions: 1 for 2"):
        contact_sheet([image, image], 2, captions=["a"])
    with pytest.raises(ValueError, match="columns"):
        contact_sheet([image], 0)
