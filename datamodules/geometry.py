"""Affine maps in continuous coordinates (see ``contracts.py``), and what they do to points, boxes and pictures.

A map is f64 [2, 3]: ``(x, y) -> matrix[:, :2] @ (x, y) + matrix[:, 2]``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_AREA_BELOW = 0.5
"""Pictures shrunk below this factor are averaged over areas first: bilinear sampling alone would alias."""
_HALVED_FROM = 6
"""Pictures shrunk by this factor or more are halved first, which OpenCV does eight times as fast as it shrinks by
other factors: all takes two fifths of the time. Over COCO's photographs pixels change by 0.1 to 0.35 of 255 levels in
the mean."""

_CORNERS = np.array([[0, 1], [2, 1], [2, 3], [0, 3]])


def identity() -> Matrix:
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def translation(dx: float, dy: float) -> Matrix:
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])


def scaling(sx: float, sy: float) -> Matrix:
    """About the origin. A negative factor mirrors."""
    return np.array([[sx, 0.0, 0.0], [0.0, sy, 0.0]])


def rotation(degrees: float) -> Matrix:
    """About the origin, clockwise on the screen (y points down)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0]])


def placing(
    scale: tuple[float, float], degrees: float, center: tuple[float, float], target: tuple[float, float]
) -> Matrix:
    """Scales, then rotates, about ``center``, which comes to lie on ``target``; in one step, to the same numbers as
    ``compose(translation, scaling, rotation, translation)``.
    """
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = -center[0] * scale[0], -center[1] * scale[1]
    return np.array(
        [
            [c * scale[0], -s * scale[1] + 0.0, c * x - s * y + target[0]],
            [s * scale[0] + 0.0, c * scale[1], s * x + c * y + target[1]],
        ]
    )


def compose(*matrices: Matrix) -> Matrix:
    """One map that applies ``matrices`` from left to right."""
    a, b, x, c, d, y = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
    for matrix in matrices:  # of six numbers: array operations would take longer to begin than this takes
        (e, f, u), (g, h, v) = matrix.tolist()
        a, b, x, c, d, y = (
            e * a + f * c,
            e * b + f * d,
            e * x + f * y + u,
            g * a + h * c,
            g * b + h * d,
            g * x + h * y + v,
        )
    return np.array([[a, b, x], [c, d, y]])


def invert(matrix: Matrix) -> Matrix:
    """Raises:
    ValueError: the map has no inverse.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    scale = a * d - b * c
    if abs(scale) < 1e-12:
        raise ValueError(f"the affine map {matrix.tolist()} has no inverse")
    return np.array([[d, -b, b * y - d * x], [-c, a, c * x - a * y]]) / scale


def determinant(matrix: Matrix) -> float:
    """Signed factor by which the map scales areas."""
    return float(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])


def map_points(matrix: Matrix, points: NDArray) -> NDArray[np.float64]:
    """Map ``points`` [..., 2]; computed and returned in f64. ``matrix`` [N, 2, 3] maps each of [N, n, 2] by its own."""
    shift = matrix[:, 2] if matrix.ndim == 2 else matrix[:, None, :, 2]
    return points.astype(np.float64) @ np.swapaxes(matrix[..., :2], -1, -2) + shift


def corners(boxes: NDArray) -> NDArray:
    """The four corners [N, 4, 2] of ``boxes`` [N, 4] (x0 y0 x1 y1), in order around them."""
    return boxes[:, _CORNERS]


def map_boxes(matrix: Matrix, boxes: NDArray) -> NDArray[np.float64]:
    """Upright boxes [N, 4] (x0 y0 x1 y1) that enclose the images of ``boxes`` [N, 4]; ``matrix`` one or [N, 2, 3]."""
    mapped = map_points(matrix, corners(boxes))
    return np.concatenate([mapped.min(axis=1), mapped.max(axis=1)], axis=1)


def clip_boxes(boxes: NDArray, hw: tuple[int, int] | NDArray[np.float32]) -> NDArray:
    """The part of ``boxes`` [N, 4] inside a picture of height and width ``hw``, or [N, 2]; without area where there is
    none.
    """
    limits = np.asarray(hw, dtype=boxes.dtype)[..., None, ::-1]
    return boxes.reshape(-1, 2, 2).clip(0, limits).reshape(-1, 4)


def warp_image(
    image: NDArray,
    matrix: Matrix,
    hw: tuple[int, int],
    fill: tuple[int, ...] = (0, 0, 0),
    *,
    averages_areas: bool = True,
) -> NDArray:
    """Resample ``image`` u8 [h, w] or [h, w, 3] through ``matrix`` (image -> output) onto ``hw`` pixels, bilinearly.

    A map that takes the frame onto the frame (a resize, mirrored or not) is done as a resize: six times faster, and
    without a border blended with ``fill``. The identity returns the same pixels. Under half size, areas are averaged.
    Without ``averages_areas`` it is plain ``cv2.warpAffine`` of ``image`` at any size.
    """
    height, width = hw
    frame = _resize_of_frame(matrix, image.shape[:2], hw) if averages_areas else None
    if frame is not None:
        if image.shape[:2] != (height, width):
            image = _resize(image, width, height)
        return cv2.flip(image, 1) if frame == "mirrored" else image
    if averages_areas:
        image, matrix = _shrunk(image, matrix)
    # OpenCV's coordinates are pixel indices: half a pixel off on both sides.
    indices = compose(translation(0.5, 0.5), matrix, translation(-0.5, -0.5))
    if image.ndim == 2:
        return cv2.warpAffine(image, indices, (width, height), flags=cv2.INTER_LINEAR, borderValue=fill)
    # OpenCV 5 warps four channels a sixth faster than three, the two conversions included, to the same pixels.
    padded = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    warped = cv2.warpAffine(padded, indices, (width, height), flags=cv2.INTER_LINEAR, borderValue=(*fill, 0))
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)


class Source(NamedTuple):
    """What an input is sampled from, where that is left to the device; see ``source_of``."""

    pixels: NDArray[np.uint8]
    """[h, w, 3]: the part of a photograph that the input shows, at least one pixel."""
    to_pixels: Matrix
    """From the input to ``pixels``, continuous coordinates of both."""
    is_frame: bool
    """The photograph fills the input to its border, beyond which its pixels go on; else the fill begins there."""


def source_of(image: NDArray[np.uint8], matrix: Matrix, hw: tuple[int, int], *, averages_areas: bool = True) -> Source:
    """The first half of ``warp_image``: all but the bilinear sampling of an input of ``hw`` pixels.

    Under half size areas are averaged here, if at all. Of what is left it is the part that the input shows, a view.
    """
    kind = _resize_of_frame(matrix, image.shape[:2], hw) if averages_areas else None
    if kind is None:
        image, matrix = _shrunk(image, matrix) if averages_areas else (image, matrix)
    elif _shrinks_areas(image.shape, hw[1], hw[0]):
        image = _resize(image, hw[1], hw[0])
        matrix = compose(scaling(-1.0, 1.0), translation(hw[1], 0.0)) if kind == "mirrored" else identity()
    to_image = invert(matrix)
    if kind is not None:
        return Source(image, to_image, True)
    (left, right), (top, bottom) = (
        _span((shift, a * hw[1] + shift, b * hw[0] + shift, a * hw[1] + b * hw[0] + shift), length)
        for (a, b, shift), length in zip(to_image.tolist(), (image.shape[1], image.shape[0]), strict=True)
    )
    return Source(image[top:bottom, left:right], compose(to_image, translation(-left, -top)), False)


def _span(ends: tuple[float, ...], length: int) -> tuple[int, int]:
    """Pixels from the least to the largest of ``ends``, and a neighbour on either side, of ``length``: at least one."""
    start = min(max(math.floor(min(ends)) - 1, 0), length - 1)
    return start, max(min(math.ceil(max(ends)) + 1, length), start + 1)


def covers_frame(matrix: Matrix, image_hw: tuple[int, int], hw: tuple[int, int]) -> bool:
    """Whether the map takes a picture of ``image_hw`` exactly onto a frame of ``hw``, mirrored or not."""
    return _resize_of_frame(matrix, image_hw, hw) is not None


def covered_cells(matrix: Matrix, image_hw: tuple[int, int], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [h, w] of ``hw``: the cells whose centre shows a picture of ``image_hw``; ``matrix`` is image -> cells."""
    (a, b, x), (c, d, y) = invert(matrix).astype(np.float32)
    across, down = (np.arange(side, dtype=np.float32) + np.float32(0.5) for side in (hw[1], hw[0]))
    column, row = (down * b + x)[:, None] + across * a, (down * d + y)[:, None] + across * c
    return (column >= 0) & (column <= image_hw[1]) & (row >= 0) & (row <= image_hw[0])


def _resize_of_frame(matrix: Matrix, image_hw: tuple[int, ...], hw: tuple[int, int]) -> str | None:
    (a, b, x), (c, d, y) = matrix.tolist()
    sx, sy = hw[1] / image_hw[1], hw[0] / image_hw[0]
    for kind, across, shift in (("upright", sx, 0.0), ("mirrored", -sx, hw[1])):
        if max(abs(a - across), abs(b), abs(x - shift), abs(c), abs(d - sy), abs(y)) < 1e-9 * max(hw):
            return kind
    return None


def _shrunk(image: NDArray, matrix: Matrix) -> tuple[NDArray, Matrix]:
    """Under half size, ``image`` averaged over areas, and the map from there; else both as they are."""
    shrink = math.sqrt(abs(determinant(matrix)))
    if shrink >= _AREA_BELOW:
        return image, matrix
    before = image.shape[:2]
    image = _resize(image, max(1, round(before[1] * shrink)), max(1, round(before[0] * shrink)))
    return image, compose(scaling(before[1] / image.shape[1], before[0] / image.shape[0]), matrix)


def _resize(image: NDArray, width: int, height: int) -> NDArray:
    if not _shrinks_areas(image.shape, width, height):
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    is_even = image.shape[0] % 2 == image.shape[1] % 2 == 0
    if is_even and min(image.shape[1] / width, image.shape[0] / height) >= _HALVED_FROM:
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _shrinks_areas(shape: tuple[int, ...], width: int, height: int) -> bool:
    return min(width / shape[1], height / shape[0]) < _AREA_BELOW
