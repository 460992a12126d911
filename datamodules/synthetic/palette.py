"""Colours, RGB from 0 to 255."""

from __future__ import annotations

import colorsys

import numpy as np

Color = tuple[int, int, int]

_SKINS: tuple[Color, ...] = (
    (255, 219, 194),
    (246, 201, 168),
    (233, 180, 142),
    (212, 156, 114),
    (184, 125, 84),
    (150, 98, 64),
    (115, 72, 48),
    (86, 55, 40),
)


def sample_skin(rng: np.random.Generator) -> Color:
    return jittered(rng, _SKINS[int(rng.integers(len(_SKINS)))], 7)


def sample_vivid(rng: np.random.Generator, dark: bool = False) -> Color:
    """Of clothes and things."""
    value = rng.uniform(0.22, 0.55) if dark else rng.uniform(0.5, 0.95)
    return _from_hsv(rng.random(), rng.uniform(0.25, 0.8), value)


def sample_muted(rng: np.random.Generator) -> Color:
    """Of walls, floors and houses."""
    return _from_hsv(rng.random(), rng.uniform(0.08, 0.45), rng.uniform(0.45, 0.92))


def sample_grey(rng: np.random.Generator, light: bool = False) -> Color:
    level = rng.uniform(200, 246) if light else rng.uniform(30, 240)
    return jittered(rng, (level, level, level), 5)


def _from_hsv(hue: float, saturation: float, value: float) -> Color:
    r, g, b = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(r * 255), round(g * 255), round(b * 255)


def jittered(rng: np.random.Generator, color: tuple[float, ...], spread: float) -> Color:
    r, g, b = np.clip(np.array(color) + rng.normal(0, spread, 3), 8, 255).round().astype(int)
    return int(r), int(g), int(b)


def blend(color: Color, other: Color, share: float) -> Color:
    """``share`` of the other colour."""
    r, g, b = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return r, g, b


def difference(color: Color, other: Color) -> float:
    """Sum of the channels' absolute differences."""
    return float(sum(abs(a - b) for a, b in zip(color, other, strict=True)))
