"""Crowds: rows of small people far off. A few are painted, then stamped again and again, also mirrored."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.synthetic.canvas import SUPERSAMPLE, Canvas
from datamodules.synthetic.cast import Stage, enter, sample_actor
from datamodules.synthetic.figure import dress

CROWD = 1023
"""Whose the pixels of a crowd are."""
_FACES = 9


class Stamp(NamedTuple):
    image: np.ndarray
    """u8 [h, w, 3], canvas pixels."""
    mask: np.ndarray
    """u8 [h, w], 0 or 1."""


def paint_crowd(rng: np.random.Generator, canvas: Canvas, stage: Stage, horizon: float) -> None:
    """Paint one to three closely packed rows; ``horizon`` in pixels of the picture."""
    size = canvas.owner.shape[0] // SUPERSAMPLE
    height = rng.uniform(0.07, 0.12) * size
    stamps = [_stamp(rng, stage, height) for _ in range(_FACES)]
    left, width = rng.uniform(-0.1, 0.5) * size, rng.uniform(0.3, 0.7) * size
    for row in range(int(rng.integers(1, 4))):
        for x in np.arange(left, left + width, height * 0.4):
            stamp = stamps[int(rng.integers(len(stamps)))]
            if rng.random() < 0.5:
                stamp = Stamp(stamp.image[:, ::-1], stamp.mask[:, ::-1])
            foot = horizon + height * (0.4 + 0.3 * row) + rng.normal(0, 0.04) * height
            _press(canvas, stamp, _rolled((x + rng.normal(0, 0.1) * height, foot), stage, size))


def _stamp(rng: np.random.Generator, stage: Stage, height: float) -> Stamp:
    side = 2 * math.ceil(1.3 * height)
    actor = sample_actor(rng, height, side / 2, side - 0.3 * height)
    while actor.pose.seated or actor.pose.lying:
        actor = sample_actor(rng, height, side / 2, side - 0.3 * height)
    canvas = Canvas(np.zeros((SUPERSAMPLE * side, SUPERSAMPLE * side, 3), np.uint8), stage.light)
    rig, camera = enter(actor, stage._replace(roll=0.0), side)
    dress(rig, actor.look.from_afar(), camera, 1).paint(canvas)
    mask = (canvas.owner > 0).view(np.uint8)
    x, y, width, bottom = cv2.boundingRect(mask)
    return Stamp(canvas.image[y : y + bottom, x : x + width], mask[y : y + bottom, x : x + width])


def _rolled(at: tuple[float, float], stage: Stage, size: int) -> tuple[float, float]:
    """A place of the level picture in canvas pixels."""
    cos, sin = math.cos(math.radians(stage.roll)), math.sin(math.radians(stage.roll))
    x, y = at[0] - size / 2, at[1] - size / 2
    return SUPERSAMPLE * (size / 2 + cos * x - sin * y), SUPERSAMPLE * (size / 2 + sin * x + cos * y)


def _press(canvas: Canvas, stamp: Stamp, foot: tuple[float, float]) -> None:
    """Stamp a person whose feet's middle is at ``foot``."""
    height, width = stamp.mask.shape
    left, top = round(foot[0] - width / 2), round(foot[1] - height)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, canvas.owner.shape[1]), min(top + height, canvas.owner.shape[0])
    if x0 < x1 and y0 < y1:
        part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        inside = stamp.mask[part].astype(bool)
        canvas.image[y0:y1, x0:x1][inside] = stamp.image[part][inside]
        canvas.owner[y0:y1, x0:x1][inside] = CROWD * 64 + 1
