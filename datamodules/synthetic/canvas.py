"""The drawing surface: round-looking shapes, and who owns every pixel.

Shapes are painted without anti-aliasing at twice the size of the picture; ``Canvas.picture`` averages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.synthetic.wardrobe import Color, Material, Pattern

SUPERSAMPLE = 2
_BITS = 4
_ONE = 1 << _BITS
_RAMP = np.linspace(-1.0, 1.0, 256)
_DEPTH = np.sqrt(np.clip(1 - _RAMP**2, 0, 1))
_ANGLE = np.arcsin(_RAMP) / np.pi  # where around the half cylinder, -0.5 to 0.5
_RIM = 1 - 0.3 * np.clip((np.abs(_RAMP) - 0.72) / 0.28, 0, 1) ** 2


class Light(NamedTuple):
    """Direction towards the light in the picture's frame (x right, y down, z to the viewer) and its strengths."""

    x: float
    y: float
    z: float
    ambient: float


class Canvas:
    """A picture under construction.

    ``image`` u8 [S, S, 3], RGB; ``owner`` u16 [S, S]: 0 for scenery, else ``person * 64 + part``.
    """

    def __init__(self, image: np.ndarray, light: Light) -> None:
        self.image = image
        self.owner: np.ndarray = np.zeros(image.shape[:2], np.uint16)
        self.light = light

    def paint(
        self,
        outlines: Sequence[np.ndarray],
        axis: tuple[np.ndarray, np.ndarray],
        material: Material,
        owner: int,
        unit: float = 1.0,
        shadow: float = 0.0,
    ) -> None:
        """Paint the union of convex polygons as one rounded body.

        Args:
            outlines: f [n, 2] each, canvas pixels, convex.
            axis: two points, canvas pixels; the body is round about the line through them.
            material: its pattern's period is in ``unit``s.
            owner: what ``self.owner`` becomes where it is painted.
            unit: pixels per standing height.
            shadow: width of the contact shadow on the same person's parts below, pixels.
        """
        points = np.concatenate(outlines)
        placed = self._place(points, margin=shadow)
        if placed is None:
            return
        x0, y0, x1, y1 = placed
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for outline in outlines:
            fixed = np.rint((outline - (x0 + 0.5, y0 + 0.5)) * _ONE).astype(np.int32)
            cv2.fillConvexPoly(mask, fixed, 1, cv2.LINE_8, _BITS)
        image, below = self.image[y0:y1, x0:x1], self.owner[y0:y1, x0:x1]
        if shadow >= 1:
            size = 2 * round(shadow) + 1
            near = cv2.blur(mask * 96, (size, size))
            near[below >> 6 != owner >> 6] = 0
            dark = cv2.merge([255 - near] * 3)
            cv2.multiply(image, dark, dst=image, scale=1 / 255)
        cv2.copyTo(self._shaded(points, axis, material, unit, placed), mask, image)
        below[mask.view(bool)] = owner

    def paint_polygon(
        self, polygon: np.ndarray, axis: tuple[np.ndarray, np.ndarray], material: Material, owner: int, unit: float
    ) -> None:
        """Paint one polygon of any shape as part of a rounded body; see ``paint``."""
        placed = self._place(polygon)
        if placed is None:
            return
        x0, y0, x1, y1 = placed
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        fixed = np.rint((polygon - (x0 + 0.5, y0 + 0.5)) * _ONE).astype(np.int32)
        cv2.fillPoly(mask, [fixed], 1, cv2.LINE_8, _BITS)
        cv2.copyTo(self._shaded(polygon, axis, material, unit, placed), mask, self.image[y0:y1, x0:x1])
        self.owner[y0:y1, x0:x1][mask.view(bool)] = owner

    def fill(self, polygon: np.ndarray, color: Color, owner: int | None = None) -> None:
        """Fill one polygon, f [n, 2] in canvas pixels, evenly; ``owner`` None leaves the owner as it is."""
        fixed = np.rint((polygon - 0.5) * _ONE).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], color, cv2.LINE_8, _BITS)
        if owner is not None:
            cv2.fillPoly(self.owner, [fixed], owner, cv2.LINE_8, _BITS)

    def darken(self, polygon: np.ndarray, factor: float) -> None:
        """Multiply the picture by ``factor`` inside a polygon, f [n, 2] in canvas pixels."""
        placed = self._place(polygon)
        if placed is None:
            return
        x0, y0, x1, y1 = placed
        fixed = np.rint((polygon - (x0 + 0.5, y0 + 0.5)) * _ONE).astype(np.int32)
        factors = np.full((y1 - y0, x1 - x0), 255, np.uint8)
        cv2.fillPoly(factors, [fixed], round(255 * factor), cv2.LINE_AA, _BITS)
        image = self.image[y0:y1, x0:x1]
        cv2.multiply(image, cv2.merge([factors] * 3), dst=image, scale=1 / 255)

    def line(self, points: np.ndarray, color: Color, width: float) -> None:
        """Draw an open line, f [n, 2] in canvas pixels; owners stay."""
        fixed = np.rint((points - 0.5) * _ONE).astype(np.int32)
        cv2.polylines(self.image, [fixed], False, color, max(1, round(width)), cv2.LINE_AA, _BITS)

    def _place(self, points: np.ndarray, margin: float = 0.0) -> tuple[int, int, int, int] | None:
        x0, y0 = np.floor(points.min(axis=0) - margin).astype(int)
        x1, y1 = np.ceil(points.max(axis=0) + margin).astype(int) + 1
        height, width = self.owner.shape
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        return (int(x0), int(y0), int(x1), int(y1)) if x0 < x1 and y0 < y1 else None

    def _shaded(
        self,
        points: np.ndarray,
        axis: tuple[np.ndarray, np.ndarray],
        material: Material,
        unit: float,
        placed: tuple[int, int, int, int],
    ) -> np.ndarray:
        x0, y0, x1, y1 = placed
        start, along = axis[0], axis[1] - axis[0]
        length = float(np.hypot(*along))
        along = along / length if length > 1e-3 else np.array([0.0, 1.0])
        across = np.array([-along[1], along[0]])
        if across[0] < 0:
            across = -across
        offsets = points @ across
        low, high = float(offsets.min()), float(offsets.max())
        scale = 255 / max(high - low, 1e-3)
        xs, ys = np.arange(x0, x1, dtype=np.float32) + 0.5, np.arange(y0, y1, dtype=np.float32) + 0.5
        ramp = np.add.outer(ys * (across[1] * scale) - low * scale, xs * (across[0] * scale))
        index = np.clip(ramp, 0, 255).astype(np.uint8)
        tones = self.tones(across)
        first = cv2.applyColorMap(index, _table(material.color, tones))
        if material.pattern is Pattern.plain:
            return first
        around = np.floor(_ANGLE * (high - low) * 1.57 / unit / material.period).astype(int) % 2 == 1
        if material.pattern is Pattern.stripes:
            table = np.where(around[:, None, None], _table(material.second, tones), _table(material.color, tones))
            return cv2.applyColorMap(index, table)
        way = along / unit
        height = np.add.outer(ys * way[1], xs * way[0]) - float(start @ way)
        second = _table(material.second, tones)
        if material.pattern is Pattern.block:
            band = height < material.period * 2
        else:
            band = (height / material.period) % 2 >= 1
            if material.pattern is Pattern.checks:
                band ^= around[index]
        return cv2.copyTo(cv2.applyColorMap(index, second), band.view(np.uint8), first)

    def tones(self, across: np.ndarray) -> np.ndarray:
        """Brightness f64 [256] over a cylinder from one rim to the other."""
        light = self.light
        lambert = np.clip(_RAMP * (across[0] * light.x + across[1] * light.y) + _DEPTH * light.z, 0, None)
        return (light.ambient + (1.06 - light.ambient) * lambert) * _RIM

    def shade(self, color: Color, tone: float) -> Color:
        """A flat colour under this light."""
        r, g, b = _table(color, np.array([tone]))[0, 0]
        return int(r), int(g), int(b)

    def picture(self) -> np.ndarray:
        """u8 [S / 2, S / 2, 3]."""
        side = self.image.shape[0] // SUPERSAMPLE
        return cv2.resize(self.image, (side, side), interpolation=cv2.INTER_AREA)


def _table(color: Color, tones: np.ndarray) -> np.ndarray:
    """u8 [n, 1, 3]: a colour under each tone; shadows turn a little blue."""
    tint = np.array([1.0, 1.0, 1.0]) + np.array([-0.05, -0.02, 0.08]) * (1 - np.clip(tones, 0, 1))[:, None]
    return np.clip(np.array(color) * tones[:, None] * tint, 0, 255).astype(np.uint8)[:, None]
