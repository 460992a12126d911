"""The drawing surface: a picture, and who owns every pixel of it.

Shapes are painted without anti-aliasing at twice the size of the picture; ``Canvas.picture`` averages.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from datamodules.synthetic.coat import Coat, Light, coats_of, form_of, shades
from datamodules.synthetic.palette import Color
from datamodules.synthetic.wardrobe import Material

SUPERSAMPLE = 2
_BITS = 4
_ONE = 1 << _BITS


class Canvas:
    """A picture under construction; shapes are f64 [n, 2], continuous canvas pixels.

    ``image`` u8 [S, S, 3], RGB; ``owner`` u16 [S, S]: 0 for scenery, else ``person * 64 + part``.
    """

    def __init__(self, image: np.ndarray, light: Light) -> None:
        self.image = image
        self.owner: np.ndarray = np.zeros(image.shape[:2], np.uint16)
        self.light = light

    def paint(
        self, polygons: Sequence[np.ndarray], corners: np.ndarray, coat: Coat, owner: int, shadow: float = 0.0
    ) -> None:
        """Paint the union of polygons as one rounded body; a polygon that is not convex comes alone.

        Args:
            polygons: i32 [n, 2] each, see ``fixed``.
            corners: f64 [2, 2], a box around them: least and greatest x, y.
            owner: what ``self.owner`` becomes where it is painted.
            shadow: width of the contact shadow on the same person's parts below, pixels.
        """
        placed = self._place(corners, shadow)
        if placed is None:
            return
        x0, y0, x1, y1 = placed
        image, below = self.image[y0:y1, x0:x1], self.owner[y0:y1, x0:x1]
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        origin = np.array([x0 * _ONE, y0 * _ONE], np.int32)
        if len(polygons) == 1:
            cv2.fillPoly(mask, [polygons[0] - origin], 255, cv2.LINE_8, _BITS)
        else:
            for polygon in polygons:
                cv2.fillConvexPoly(mask, polygon - origin, 255, cv2.LINE_8, _BITS)
        inside = mask.view(bool)
        if coat.high - coat.low < 3:  # too small for its roundness to show
            image[inside] = coat.flat
            below[inside] = owner
            return
        if shadow >= 1:
            self._cast(mask, image, below, owner, shadow)
        cv2.copyTo(coat.colors(x0, y0, x1, y1), mask, image)
        below[inside] = owner

    @staticmethod
    def _cast(mask: np.ndarray, image: np.ndarray, below: np.ndarray, owner: int, width: float) -> None:
        size = 2 * round(width) + 1
        near = cv2.blur(mask, (size, size))
        near *= (below >> 6) == (owner >> 6)
        if near.any():
            dark = cv2.LUT(near, _CONTACT)
            cv2.multiply(image, cv2.merge([dark, dark, dark]), dst=image, scale=1 / 255)

    def paint_alone(
        self, outline: np.ndarray, axis: tuple[np.ndarray, np.ndarray], material: Material, unit: float
    ) -> None:
        """Paint one polygon of the scenery as a body that is round about ``axis``, two points."""
        form = form_of(outline, np.array([0]), np.stack(axis)[None])
        self.paint([fixed(outline)], form.corners[0], coats_of(self.light, form, [0], [material], unit)[0], 0)

    def fill(self, polygon: np.ndarray, color: Color, owner: int | None = None) -> None:
        """Fill a polygon evenly; ``owner`` None leaves the owners as they are."""
        points = [fixed(polygon)]
        cv2.fillPoly(self.image, points, color, cv2.LINE_8, _BITS)
        if owner is not None:
            cv2.fillPoly(self.owner, points, owner, cv2.LINE_8, _BITS)

    def line(self, points: np.ndarray, color: Color, width: float) -> None:
        """Draw an open line; owners stay."""
        cv2.polylines(self.image, [fixed(points)], False, color, max(1, round(width)), cv2.LINE_AA, _BITS)

    def darken(self, polygon: np.ndarray, factor: float) -> None:
        """Multiply the picture by ``factor`` inside a polygon."""
        placed = self._place(np.stack([polygon.min(axis=0), polygon.max(axis=0)]))
        if placed is None:
            return
        x0, y0, x1, y1 = placed
        factors = np.full((y1 - y0, x1 - x0), 255, np.uint8)
        cv2.fillPoly(factors, [fixed(polygon - (x0, y0))], round(255 * factor), cv2.LINE_AA, _BITS)
        image = self.image[y0:y1, x0:x1]
        cv2.multiply(image, cv2.merge([factors, factors, factors]), dst=image, scale=1 / 255)

    def shade(self, color: Color, tone: float) -> Color:
        """A colour under an even light."""
        r, g, b = shades([color], np.array([[tone]], dtype=np.float32))[0, 0, 0]
        return int(r), int(g), int(b)

    def picture(self) -> np.ndarray:
        """u8 [S / 2, S / 2, 3]."""
        side = self.image.shape[0] // SUPERSAMPLE
        return cv2.resize(self.image, (side, side), interpolation=cv2.INTER_AREA)

    def _place(self, corners: np.ndarray, margin: float = 0.0) -> tuple[int, int, int, int] | None:
        """The whole pixels x0, y0, x1, y1 of the canvas that hold a box, or None."""
        (left, top), (right, bottom) = corners.tolist()
        height, width = self.owner.shape
        x0, y0 = max(int(left - margin) - 1, 0), max(int(top - margin) - 1, 0)
        x1, y1 = min(int(right + margin) + 2, width), min(int(bottom + margin) + 2, height)
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


_CONTACT = (255 - 0.4 * np.arange(256)).astype(np.uint8)


def fixed(points: np.ndarray) -> np.ndarray:
    """Canvas pixels f64 [..., 2] in OpenCV's fixed point, whose pixel centres are whole numbers."""
    return np.rint((points - 0.5) * _ONE).astype(np.int32)
