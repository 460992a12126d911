"""Places: what stands behind the people."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.synthetic.brushes import ellipse, gradient, grain
from datamodules.synthetic.chance import choose
from datamodules.synthetic.indoors import room
from datamodules.synthetic.outdoors import beach, court, park, street
from datamodules.synthetic.palette import sample_muted, sample_vivid


class Place(NamedTuple):
    weight: float
    """How often it is drawn."""
    paint: Callable[[np.random.Generator, int, float], np.ndarray]
    is_open: bool
    """Whether a crowd finds room in the distance."""


def sample_place(rng: np.random.Generator) -> Place:
    return _PLACES[choose(rng, [place.weight for place in _PLACES])]


def paint_place(rng: np.random.Generator, place: Place, size: int, horizon: float) -> np.ndarray:
    """Paint a place, sometimes out of focus.

    Args:
        horizon: pixels from the top.

    Returns:
        u8 [size, size, 3], RGB.
    """
    image = place.paint(rng, size, horizon)
    stains = rng.normal(0, rng.uniform(1, 6), (24, 24)).astype(np.float32)
    grain(image, np.rint(cv2.resize(stains, (size, size))).astype(np.int16))
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.002, 0.016) * size)
    return image


def _abstract(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = gradient(size, np.array(sample_muted(rng)), np.array(sample_muted(rng)))
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image.transpose(1, 0, 2))
    for _ in range(int(rng.integers(4, 26))):
        color, at = sample_vivid(rng), rng.uniform(0, size, 2)
        if rng.random() < 0.5:
            polygon = at + rng.normal(0, 0.16 * size, (int(rng.integers(3, 7)), 2))
            cv2.fillPoly(image, [cv2.convexHull(polygon.astype(np.int32))], color, cv2.LINE_AA)
        else:
            ellipse(image, at, rng.uniform(0.02, 0.2) * size, rng.uniform(0.02, 0.2) * size, color)
    return image


_PLACES = (
    Place(0.2, park, True),
    Place(0.2, street, True),
    Place(0.28, room, False),
    Place(0.11, court, True),
    Place(0.09, beach, True),
    Place(0.12, _abstract, False),
)
