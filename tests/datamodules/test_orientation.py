from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from datamodules.orientation import turned, upright


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_as_pillow_does(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "photo.png"
    Image.fromarray(pixels).save(file, exif=exif)
    with Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    found = upright(pixels, file)
    np.testing.assert_array_equal(found, expected)
    assert found.flags["C_CONTIGUOUS"]


def test_without_a_note_and_with_nonsense_nothing_turns(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    np.testing.assert_array_equal(upright(pixels, tmp_path / "plain.png"), pixels)
    np.testing.assert_array_equal(turned(pixels, 42), pixels)
