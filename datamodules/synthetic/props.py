"""Things among the people: what only looks like limbs and heads, and what stands before somebody. They are nobody's."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from datamodules.synthetic.brushes import tone
from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.palette import Color, sample_grey, sample_skin, sample_vivid
from datamodules.synthetic.wardrobe import Material, Pattern, sample_cloth

_TURN = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_RIM = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=-1)


def add_distractors(rng: np.random.Generator, canvas: Canvas, horizon: float) -> None:
    """Paint balls, balloons, logs, coat stands, often of the colours of skin; ``horizon`` in canvas pixels."""
    side = canvas.owner.shape[0]
    for _ in range(int(rng.poisson(0.9))):
        size = rng.uniform(0.1, 0.45) * side
        foot = min(horizon + size * rng.uniform(0.5, 1.0), 1.1 * side)
        material = Material(sample_skin(rng)) if rng.random() < 0.35 else sample_cloth(rng)
        _DISTRACTORS[int(rng.integers(len(_DISTRACTORS)))](
            rng, canvas, np.array([rng.uniform(0, side), foot]), size, material
        )


def _ball(rng: np.random.Generator, canvas: Canvas, at: np.ndarray, size: float, material: Material) -> None:
    radius = size * rng.uniform(0.06, 0.16)
    canvas.darken(at + _RIM * (radius * 1.1, radius * 0.25), 0.75)
    _round(canvas, at - (0, radius), radius, radius, material)


def _balloons(rng: np.random.Generator, canvas: Canvas, at: np.ndarray, size: float, material: Material) -> None:
    for _ in range(int(rng.integers(1, 5))):
        top = at + rng.normal(0, 0.14, 2) * size - (0, size * 1.1)
        canvas.line(np.stack([at - (0, size * 0.2), top]), (90, 90, 94), 1)
        _round(canvas, top, size * 0.085, size * 0.11, material)
        material = Material(sample_vivid(rng))


def _log(rng: np.random.Generator, canvas: Canvas, at: np.ndarray, size: float, material: Material) -> None:
    radius = size * rng.uniform(0.03, 0.09)
    tilt = rng.normal(0, 0.12)
    reach = np.array([np.cos(tilt), np.sin(tilt)]) * size * rng.uniform(0.15, 0.5)
    centre = at - (0, radius)
    canvas.darken(centre + (0, radius) + _RIM * (abs(reach[0]) + radius, radius * 0.4), 0.78)
    _bar(canvas, centre - reach, centre + reach, radius, radius * rng.uniform(0.7, 1.0), material, size)


def _stand(rng: np.random.Generator, canvas: Canvas, at: np.ndarray, size: float, material: Material) -> None:
    """A stem with arms: a coat stand, a cactus, a signpost."""
    radius = size * rng.uniform(0.02, 0.07)
    top = at - (rng.normal(0, 0.03) * size, size * rng.uniform(0.7, 1.1))
    canvas.darken(at + _RIM * (radius * 2.5, radius * 0.8), 0.78)
    for _ in range(int(rng.integers(0, 4))):
        fork = at + (top - at) * rng.uniform(0.4, 0.9)
        tip = fork + np.array([(-1) ** int(rng.integers(2)) * rng.uniform(0.15, 0.3), rng.uniform(-0.25, 0.1)]) * size
        _bar(canvas, fork, tip, radius * 0.8, radius * 0.6, material, size)
    _bar(canvas, at, top, radius, radius * 0.9, material, size)


_DISTRACTORS: tuple[Callable[[np.random.Generator, Canvas, np.ndarray, float, Material], None], ...] = (
    _ball,
    _balloons,
    _log,
    _stand,
)


def _round(canvas: Canvas, centre: np.ndarray, rx: float, ry: float, material: Material) -> None:
    reach = np.array([0.0, ry])
    canvas.paint_alone(centre + _RIM * (rx, ry), (centre - reach, centre + reach), material, ry * 12)


def _bar(
    canvas: Canvas, start: np.ndarray, end: np.ndarray, first: float, last: float, material: Material, unit: float
) -> None:
    points = np.concatenate([start + _RIM * first, end + _RIM * last]).astype(np.float32)
    canvas.paint_alone(cv2.convexHull(points)[:, 0], (start, end), material, unit)


def add_obstacle(rng: np.random.Generator, canvas: Canvas, at: np.ndarray, height: float) -> None:
    """Paint something that stands before a person: a crate, a post, a bush.

    Args:
        at: f64 [2], where it stands, canvas pixels.
        height: an adult's there, canvas pixels.
    """
    kind = int(rng.integers(3))
    if kind == 0:
        half, top = rng.uniform(0.12, 0.3) * height, rng.uniform(0.2, 0.45) * height
        _block(
            canvas,
            at,
            half,
            top,
            Material(sample_vivid(rng, dark=True), sample_vivid(rng), Pattern.hoops, 0.08),
            height,
        )
    elif kind == 1:
        half, top = rng.uniform(0.03, 0.07) * height, rng.uniform(0.7, 1.6) * height
        _block(canvas, at, half, top, Material(sample_grey(rng)), height)
    else:
        leaf: Color = (int(rng.integers(50, 110)), int(rng.integers(96, 140)), int(rng.integers(46, 80)))
        for _ in range(14):
            middle = at - (0, 0.14 * height) + rng.normal(0, 1, 2) * (0.13 * height, 0.07 * height)
            blob = middle + _RIM * rng.uniform(0.04, 0.1) * height
            canvas.fill(blob, tone(leaf, rng.uniform(0.7, 1.25)), owner=0)


def _block(canvas: Canvas, at: np.ndarray, half: float, top: float, material: Material, unit: float) -> None:
    corners = at + np.array([[-half, -top], [half, -top], [half, 0.0], [-half, 0.0]])
    canvas.paint_alone(corners, (at - (0, top), at), material, unit)
