"""Where nothing is learnt of an input: crowds, people without keypoints, and what no photograph covers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from datamodules.annotations import Annotations
from datamodules.config import IgnoreShape
from datamodules.geometry import Matrix, compose, corners, covered_cells, covers_frame, map_points, scaling
from datamodules.segments import fill_polygon

_FINE = 4
"""Subdivisions of a cell, as ``segments.fill_polygon`` has them."""
_WEIGHTS = np.array([[127], [128]], dtype=np.float32)
"""Of a fine pixel in a box, and, added to that, of one that is not on its outline."""


def ignore_map(
    annotations: Annotations,
    rows: NDArray[np.int64],
    shape: IgnoreShape,
    matrix: Matrix,
    original_hw: tuple[int, int],
    hw: tuple[int, int],
) -> NDArray[np.bool_] | None:
    """bool [ceil(h / 4), ceil(w / 4)] of an input of ``hw``; None where all of it is learnt.

    Args:
        rows: of the people and crowds that are ignored, each by its ``shape``.
        matrix: from the photograph, of ``original_hw``, to the input.
    """
    is_covered = covers_frame(matrix, original_hw, hw)
    if is_covered and not len(rows):
        return None
    quarter = -(-hw[0] // 4), -(-hw[1] // 4)
    if is_covered:
        ignore = np.zeros(quarter, dtype=bool)
    else:
        ignore = ~covered_cells(compose(matrix, scaling(0.25, 0.25)), original_hw, quarter)
    for row in rows.tolist():
        if shape is IgnoreShape.mask and annotations.segments.has(row):
            ignore |= annotations.segments.draw(row, original_hw, matrix, quarter)
        else:
            fill_box(ignore, annotations.boxes[row], matrix)
    return ignore


def fill_box(canvas: NDArray[np.bool_], box: NDArray[np.float32], matrix: Matrix) -> None:
    """Set the cells of ``canvas`` that ``box`` [4], mapped to the input, covers by more than half: those that
    ``fill_polygon`` sets, by arithmetic where the box stays upright.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    if b or c:
        fill_polygon(canvas, map_points(matrix, corners(box[None]))[0] / 4.0)
        return
    x0, y0, x1, y1 = box.tolist()
    across, columns = _overlap(sorted(((x0 * a + x) / 4, (x1 * a + x) / 4)), canvas.shape[1])
    down, rows = _overlap(sorted(((y0 * d + y) / 4, (y1 * d + y) / 4)), canvas.shape[0])
    # Of the 255 of each of a cell's 16 fine pixels more than half.
    canvas[down, across] |= (rows * _WEIGHTS).T @ columns >= 8 * 255


def _overlap(span: list[float], length: int) -> tuple[slice, NDArray[np.float32]]:
    """The n cells of an axis that ``span`` touches, and [2, n] how many fine pixels of each lie in it, and how many
    without its first and last pixel.
    """
    low, high = span
    start = max(math.floor(low), 0)
    stop = max(min(math.ceil(high), length), start)
    # In 16ths of a fine pixel first, as OpenCV takes its points.
    first, last = ((round(((end - start) * _FINE - 0.5) * 16) + 8) // 16 for end in span)
    ends = np.array([[last, -first], [last - 1, -first - 1]], dtype=np.float32)[..., None]
    pixel = np.arange(0, (stop - start) * _FINE, _FINE, dtype=np.float32)  # the first of each cell
    return slice(start, stop), np.maximum(
        np.minimum(ends[:, 0] - pixel, _FINE - 1) + np.minimum(ends[:, 1] + pixel, 0) + 1, 0
    )
