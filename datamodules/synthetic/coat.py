"""How cloth, skin and hair look on a rounded body under a light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.synthetic.palette import Color
from datamodules.synthetic.wardrobe import Material, Pattern

_RAMP = np.linspace(-1.0, 1.0, 256, dtype=np.float32)
_HEIGHT = np.sqrt(np.clip(1 - _RAMP**2, 0, 1))
_ANGLE = np.arcsin(_RAMP) / np.pi  # where around the half cylinder, -0.5 to 0.5
_RIM = 1 - 0.3 * np.clip((np.abs(_RAMP) - 0.72) / 0.28, 0, 1) ** 2
_COOL = np.array([-0.05, -0.02, 0.08], dtype=np.float32)  # shadows turn a little blue
_SAG = (128 * (1 - _HEIGHT)).astype(np.int32)


class Light(NamedTuple):
    """Direction towards the light in the picture's frame (x right, y down, z to the viewer), and its softness."""

    x: float
    y: float
    z: float
    ambient: float


class Form(NamedTuple):
    """n rounded bodies on the canvas: where their rims lie across their axes."""

    start: np.ndarray
    """f64 [n, 2], canvas pixels: one end of the axis."""
    along: np.ndarray
    """f64 [n, 2], unit vectors."""
    across: np.ndarray
    """f64 [n, 2], unit vectors, to the right."""
    low: np.ndarray
    """f64 [n], position of one rim along ``across``."""
    high: np.ndarray
    corners: np.ndarray
    """f64 [n, 2, 2], the box around each: least and greatest x, y."""


class Coat(NamedTuple):
    """What one body is painted with."""

    table: np.ndarray
    """u8 [256, 1, 3], from rim to rim."""
    second: np.ndarray | None
    """The same in the second colour of a patterned material."""
    material: Material
    start: np.ndarray
    along: np.ndarray
    across: np.ndarray
    low: float
    high: float
    unit: float
    """Pixels per standing height."""

    @property
    def flat(self) -> Color:
        """The colour in the middle."""
        r, g, b = self.table[128, 0]
        return int(r), int(g), int(b)

    def colors(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """u8 [y1 - y0, x1 - x0, 3], the coat over a rectangle of the canvas; meaningless beyond the rims."""
        scale = 255 * 65536 / (self.high - self.low + 2)
        columns = (np.arange(x0, x1) + 0.5) * (self.across[0] * scale)
        rows = (np.arange(y0, y1) + 0.5) * (self.across[1] * scale) - (self.low - 1) * scale
        index = (np.add.outer(rows.astype(np.int64), columns.astype(np.int64)) >> 16).astype(np.uint8)
        kind, second = self.material.pattern, self.second
        if second is None:
            return cv2.applyColorMap(index, self.table)
        around = (
            np.floor(_ANGLE * (self.high - self.low) * 1.57 / self.unit / self.material.period).astype(int) % 2 == 1
        )
        if kind is Pattern.stripes:
            return cv2.applyColorMap(index, np.where(around[:, None, None], second, self.table))
        step = 256 / (self.unit * self.material.period)  # 256 to a period
        columns = (np.arange(x0, x1) + 0.5) * (self.along[0] * step)
        rows = (np.arange(y0, y1) + 0.5) * (self.along[1] * step) - float(self.start @ self.along) * step
        height = np.add.outer(rows.astype(np.int32), columns.astype(np.int32))
        if kind is Pattern.block:
            band = height < 512
        else:
            sag = min((self.high - self.low) / (self.unit * self.material.period) * 0.12, 1.5)
            band = ((height + (_SAG * sag).astype(np.int32)[index]) & 256) > 0
            if kind is Pattern.checks:
                band ^= around[index]
        colors = cv2.applyColorMap(index, self.table)
        return cv2.copyTo(cv2.applyColorMap(index, second), band.view(np.uint8), colors)


def form_of(rims: np.ndarray, starts: np.ndarray, axes: np.ndarray) -> Form:
    """Measure n bodies.

    Args:
        rims: f64 [N, 2], the points of all bodies one after the other.
        starts: [n], where each body begins in ``rims``.
        axes: f64 [n, 2, 2], two points on each axis.
    """
    along = axes[:, 1] - axes[:, 0]
    length = np.hypot(along[:, 0], along[:, 1])[:, None]
    along = np.where(length > 1e-3, along / np.maximum(length, 1e-3), np.array([0.0, 1.0]))
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across *= np.where(across[:, :1] < 0, -1.0, 1.0)
    body = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rims))))
    offsets = (rims * across[body]).sum(axis=1)
    low, high = np.minimum.reduceat(offsets, starts), np.maximum.reduceat(offsets, starts)
    corners = np.stack([np.minimum.reduceat(rims, starts), np.maximum.reduceat(rims, starts)], axis=1)
    return Form(axes[:, 0], along, across, low, high, corners)


def coats_of(light: Light, form: Form, bodies: Sequence[int], materials: Sequence[Material], unit: float) -> list[Coat]:
    """Coats for some of the bodies, ``bodies[i]`` in ``materials[i]``."""
    index = np.asarray(bodies, dtype=int)
    tones = _tones(light, form.across[index])
    tables = shades([material.color for material in materials], tones)
    patterned = [i for i, material in enumerate(materials) if material.pattern is not Pattern.plain]
    seconds = dict(zip(patterned, shades([materials[i].second for i in patterned], tones[patterned]), strict=True))
    return [
        Coat(
            tables[i],
            seconds.get(i),
            material,
            form.start[body],
            form.along[body],
            form.across[body],
            float(form.low[body]),
            float(form.high[body]),
            unit,
        )
        for i, (body, material) in enumerate(zip(bodies, materials, strict=True))
    ]


def _tones(light: Light, across: np.ndarray) -> np.ndarray:
    """Brightness f64 [n, 256] over a cylinder from one rim to the other."""
    sideways = (across @ np.array([light.x, light.y])).astype(np.float32)
    lambert = np.maximum(sideways[:, None] * _RAMP + light.z * _HEIGHT, 0.0)
    return (light.ambient + (1.06 - light.ambient) * lambert) * _RIM


def shades(colors: Sequence[Color], tones: np.ndarray) -> np.ndarray:
    """u8 [n, m, 1, 3]: n colours under tones f32 [n, m]."""
    cool = 1 + (1 - np.minimum(tones, 1.0))[..., None] * _COOL
    values = np.array(colors, dtype=np.float32).reshape(-1, 1, 3) * tones[..., None] * cool
    return np.minimum(values, 255).astype(np.uint8)[:, :, None]
