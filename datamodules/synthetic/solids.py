"""Solids of a figure: chains of rings in camera space, projected and painted from far to near."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.wardrobe import Material


class Part(IntEnum):
    """What a pixel of a person shows; limbs come in pairs, left then right."""

    prop = 0
    torso = 1
    pelvis = 2
    neck = 3
    head = 4
    curtain = 5
    """Hair that hangs."""
    bag = 6
    skirt = 7
    upper_arm = 8
    forearm = 10
    hand = 12
    thigh = 14
    shin = 16
    foot = 18


class Camera(NamedTuple):
    """Projects one person. ``scale``: canvas pixels per standing height at the pelvis."""

    scale: float
    x: float
    y: float
    distance: float
    """In standing heights."""
    cos: float
    sin: float
    """Of the camera's roll."""

    def project(self, points: np.ndarray) -> np.ndarray:
        """Camera space [..., 3] to canvas pixels [..., 2]."""
        zoom = self.scale * self.distance / np.maximum(self.distance - points[..., 2], 0.2)
        x, y = points[..., 0] * zoom, points[..., 1] * -zoom
        return np.stack([self.x + self.cos * x - self.sin * y, self.y + self.sin * x + self.cos * y], axis=-1)


class Ring(NamedTuple):
    """An ellipse in camera space: ``centre + cos · u + sin · v``, each f64 [3]."""

    centre: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def at(self, degrees: np.ndarray) -> np.ndarray:
        """Points [n, 3] of the rim; 0 degrees is forward (``v``), 90 the person's left (``u``)."""
        angle = np.radians(degrees)[:, None]
        return self.centre + np.sin(angle) * self.u + np.cos(angle) * self.v


def ball(centre: np.ndarray, radius: float) -> Ring:
    """The silhouette of a sphere."""
    return Ring(centre, np.array([radius, 0.0, 0.0]), np.array([0.0, radius, 0.0]))


def slice_of(centre: np.ndarray, frame: np.ndarray, half_width: float, half_depth: float) -> Ring:
    """An ellipse across a part: its width along the frame's x axis, its depth along z."""
    return Ring(centre, frame[:, 0] * half_width, frame[:, 2] * half_depth)


def region(rings: Sequence[Ring], low: Sequence[float], high: Sequence[float]) -> np.ndarray | None:
    """The part of a solid's surface between two angles per ring that faces the viewer.

    Returns:
        f64 [n, 3], a closed outline in camera space, or None where nothing of it faces the viewer.
    """
    arcs = []
    for ring, lowest, highest in zip(rings, low, high, strict=True):
        facing = np.degrees(np.arctan2(ring.u[2] / np.linalg.norm(ring.u), ring.v[2] / np.linalg.norm(ring.v)))
        middle = (lowest + highest) / 2
        facing += 360 * round((middle - facing) / 360)
        start, stop = max(lowest, facing - 90), min(highest, facing + 90)
        if stop > start:
            arcs.append(ring.at(np.linspace(start, stop, 7)))
    if len(arcs) < 2:
        return None
    sides = [arc[-1:] for arc in arcs[1:-1]], [arc[:1] for arc in arcs[-2:0:-1]]
    return np.concatenate([arcs[0], *sides[0], arcs[-1][::-1], *sides[1]])


class Solid(NamedTuple):
    part: int
    rings: Sequence[Sequence[Ring]]
    """The solid is the union of the convex hulls of each two groups that follow one another."""
    material: Material
    depth: float
    shadow: bool


_TURN = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_COS, _SIN = np.cos(_TURN)[:, None], np.sin(_TURN)[:, None]


class Figure:
    """Collects the solids of one person, then paints them."""

    def __init__(self, camera: Camera, person: int) -> None:
        self.camera = camera
        self.person = person
        self._steps: list[tuple[float, Solid | Callable[[Canvas], None]]] = []

    def owner(self, part: int) -> int:
        """The owner number of a part; props belong to the scenery."""
        return self.person * 64 + part if part else 0

    def add(
        self,
        part: int,
        rings: Sequence[Ring | Sequence[Ring]],
        material: Material,
        bias: float = 0.0,
        shadow: bool = True,
    ) -> float:
        """Add a solid; its depth is the mean of its first and last ring's plus ``bias``. Returns the depth."""
        groups = [[ring] if isinstance(ring, Ring) else ring for ring in rings]
        ends = [ring.centre[2] for ring in (*groups[0], *groups[-1])]
        depth = sum(ends) / len(ends) + bias
        self._steps.append((depth, Solid(part, groups, material, depth, shadow)))
        return depth

    def also(self, depth: float, draw: Callable[[Canvas], None]) -> None:
        """Call ``draw`` when everything farther than ``depth`` is painted."""
        self._steps.append((depth, draw))

    def paint(self, canvas: Canvas) -> None:
        for _, step in sorted(self._steps, key=lambda item: item[0]):
            if isinstance(step, Solid):
                self.paint_solid(canvas, step)
            else:
                step(canvas)

    def paint_solid(self, canvas: Canvas, solid: Solid) -> None:
        rings = [ring for group in solid.rings for ring in group]
        centres, u, v = (np.stack(vectors)[:, None] for vectors in zip(*rings, strict=True))
        rims = self.camera.project(centres + _COS * u + _SIN * v)
        axis = self.camera.project(centres[[0, -1], 0])
        sizes = [len(group) for group in solid.rings]
        stops = np.cumsum(sizes)
        starts = stops - sizes
        spans = list(zip(starts[:-1], stops[1:], strict=True)) or [(0, stops[0])]
        outlines = [_hull(rims[start:stop].reshape(-1, 2)) for start, stop in spans]
        shadow = self.camera.scale * 0.012 if solid.shadow else 0.0
        unit = self.camera.scale
        canvas.paint(outlines, (axis[0], axis[1]), solid.material, self.owner(solid.part), unit, shadow)

    def paint_region(
        self, canvas: Canvas, outline: np.ndarray | None, part: int, material: Material, up: np.ndarray
    ) -> None:
        """Paint a surface region (see ``region``) as if round about the direction ``up``, f64 [3]."""
        if outline is not None:
            polygon = self.camera.project(outline)
            centre = outline.mean(axis=0)
            axis = self.camera.project(np.stack([centre, centre + up * 0.1]))
            canvas.paint_polygon(polygon, (axis[0], axis[1]), material, self.owner(part), self.camera.scale)


def _hull(points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(points.astype(np.float32))[:, 0]
