"""COCO segmentations of many people in a few flat arrays, and how they are drawn at a quarter of the resolution."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.geometry import Matrix, compose, map_points, scaling, warp_image

_FINE = 4
"""Polygons are drawn this much finer than the map they end in, then averaged: no half-cell of bias at the border."""


class Segments(NamedTuple):
    """One entry per person: rings of points, or run lengths, or nothing. No Python object is kept per person."""

    ring_spans: NDArray[np.int64]
    """[M, 2]: person m has the rings ``ring_spans[m, 0] : ring_spans[m, 1]``."""
    point_offsets: NDArray[np.int64]
    """[R + 1]: ring r has the points ``point_offsets[r] : point_offsets[r + 1]``."""
    points: NDArray[np.float32]
    """[T, 2], x and y in the photograph's pixels."""
    run_spans: NDArray[np.int64]
    """[M, 2]: person m has the runs ``run_spans[m, 0] : run_spans[m, 1]``."""
    runs: NDArray[np.uint32]
    """Lengths of runs of 0 and 1 in turn, down the columns of the photograph."""

    def select(self, index: NDArray[np.int64]) -> Segments:
        """The segments of the people ``index`` [m], in that order; points and runs are shared, not copied."""
        return self._replace(ring_spans=self.ring_spans[index], run_spans=self.run_spans[index])

    def has(self, person: int) -> bool:
        """Whether ``person`` has any segmentation."""
        return any(bool(end > start) for start, end in (self.ring_spans[person], self.run_spans[person]))

    def draw(
        self, person: int, image_hw: tuple[int, int], matrix: Matrix, quarter_hw: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """The segment of ``person`` mapped by ``matrix`` (photograph -> input), bool on the quarter-resolution map.

        A cell of 4x4 input pixels is True where the segment covers more than half of it. Rings are united.
        """
        canvas = np.zeros(quarter_hw, dtype=bool)
        for ring in range(*self.ring_spans[person].tolist()):
            points = self.points[self.point_offsets[ring] : self.point_offsets[ring + 1]]
            fill_polygon(canvas, map_points(matrix, points) / 4.0)
        runs = self.runs[slice(*self.run_spans[person].tolist())]
        if len(runs):
            mask = decode_runs(runs, image_hw).view(np.uint8) * np.uint8(255)
            canvas |= warp_image(mask, compose(matrix, scaling(0.25, 0.25)), quarter_hw) > 127
        return canvas


def fill_polygon(canvas: NDArray[np.bool_], points: NDArray[np.float64]) -> None:
    """Set the cells of ``canvas`` [h, w] that the polygon ``points`` [n, 2] (in cells) covers by more than half."""
    height, width = canvas.shape
    x0, y0 = (max(math.floor(low), 0) for low in points.min(axis=0).tolist())
    x1, y1 = (
        min(math.ceil(high), side) for high, side in zip(points.max(axis=0).tolist(), (width, height), strict=True)
    )
    if x0 >= x1 or y0 >= y1:
        return
    fine = np.zeros(((y1 - y0) * _FINE, (x1 - x0) * _FINE), dtype=np.uint8)
    local = (points - (x0, y0)) * _FINE - 0.5
    outline = [np.round(local * 16).astype(np.int32)]
    cv2.fillPoly(fine, outline, 255, shift=4)
    # OpenCV fills the pixels that the outline crosses whole: they are half covered, on average.
    cv2.polylines(fine, outline, True, 127, shift=4)
    canvas[y0:y1, x0:x1] |= cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA) > 127


def decode_runs(runs: NDArray[np.uint32], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask bool [H, W] of COCO's run lengths ``runs``, which go down the columns and begin with zeros."""
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(hw[1], hw[0]).T)


def decode_counts(text: str) -> list[int]:
    """Run lengths of COCO's compressed string: groups of 5 bits, low first, each run from the third on as a difference.

    Raises:
        ValueError: ``text`` is no such string.
    """
    counts: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at >= len(text) or not 48 <= ord(text[at]) < 112:
                raise ValueError("not a compressed run-length string")
            bits = ord(text[at]) - 48
            value |= (bits & 31) << shift
            shift, more, at = shift + 5, bool(bits & 32), at + 1
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def flatten_segments(segmentations: list[Any], image_hw: NDArray[np.int64]) -> tuple[Segments, list[tuple[int, str]]]:
    """Flat arrays of COCO's ``segmentation`` values, one per person, and what was wrong: (person, text).

    ``image_hw`` i64 [M, 2] is the size of each person's photograph. A segmentation that cannot be used becomes an
    empty one; a ring of fewer than three points is left out.
    """
    rings: list[list[float]] = []
    ring_counts = np.zeros(len(segmentations), dtype=np.int64)
    runs: list[list[int]] = []
    run_counts = np.zeros(len(segmentations), dtype=np.int64)
    complaints: list[tuple[int, str]] = []
    for person, value in enumerate(segmentations):
        if isinstance(value, list):
            good = [ring for ring in value if _is_ring(ring)]
            if len(good) != len(value):
                complaints.append((person, f"{len(value) - len(good)} of {len(value)} polygons are no polygons"))
            rings.extend(good)
            ring_counts[person] = len(good)
        elif isinstance(value, dict):
            try:
                counts = _runs_of(value, image_hw[person])
            except ValueError as error:
                complaints.append((person, str(error)))
                continue
            runs.append(counts)
            run_counts[person] = len(counts)
        elif value is not None:
            complaints.append((person, f"segmentation is a {type(value).__name__}"))
    lengths = np.fromiter((len(ring) for ring in rings), dtype=np.int64, count=len(rings))
    points = np.fromiter(chain.from_iterable(rings), dtype=np.float32, count=int(lengths.sum())).reshape(-1, 2)
    flat_runs = np.fromiter(chain.from_iterable(runs), dtype=np.uint32, count=int(run_counts.sum()))
    return Segments(_spans(ring_counts), _offsets(lengths // 2), points, _spans(run_counts), flat_runs), complaints


def _is_ring(ring: Any) -> bool:
    if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
        return False
    try:
        return float(sum(map(abs, ring))) < 1e9  # NaN is not
    except (TypeError, OverflowError):
        return False


def _runs_of(value: dict[str, Any], hw: NDArray[np.int64]) -> list[int]:
    counts = value.get("counts")
    if value.get("size") != hw.tolist():
        raise ValueError(f"segmentation is for a photograph of height and width {value.get('size')}, not {hw.tolist()}")
    if isinstance(counts, str):
        counts = decode_counts(counts)
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("segmentation's counts are no run lengths")
    if sum(counts) != int(hw[0]) * int(hw[1]) or sum(counts) >= 2**32:
        raise ValueError(f"segmentation's runs cover {sum(counts)} pixels of {int(hw[0]) * int(hw[1])}")
    return counts


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])


def _spans(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """[M, 2], start and end of each of M groups laid end to end."""
    offsets = _offsets(counts)
    return np.stack([offsets[:-1], offsets[1:]], axis=1)
