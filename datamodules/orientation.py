"""The way up that a camera noted in a photograph (EXIF). Training and evaluation ignore it, as COCO does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_TAG = 0x0112


def upright(image: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """``image`` [H, W, 3] as stored in ``path``, turned as its EXIF orientation says; unchanged without one."""
    with Image.open(path) as file:
        orientation = file.getexif().get(_TAG, 1)
    return np.ascontiguousarray(turned(image, orientation))


def turned(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """EXIF's orientations 1 to 8; any other number is 1."""
    if orientation >= 5 and orientation <= 8:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image
