"""Solids of a figure: chains of rings in camera space, projected and painted from far to near."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.synthetic.canvas import Canvas, fixed
from datamodules.synthetic.coat import Coat, Form, coats_of, form_of
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
        projected = np.empty((*points.shape[:-1], 2))
        projected[..., 0] = self.x + self.cos * x - self.sin * y
        projected[..., 1] = self.y + self.sin * x + self.cos * y
        return projected


class Ring(NamedTuple):
    """An ellipse in camera space: ``centre + cos · u + sin · v``, each f64 [3]."""

    centre: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def at(self, degrees: np.ndarray) -> np.ndarray:
        """Points [n, 3] of the rim; 0 degrees is forward (``v``), 90 the person's left (``u``)."""
        angle = np.radians(degrees)[:, None]
        return self.centre + np.sin(angle) * self.u + np.cos(angle) * self.v


_X, _Y = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])


def ball(centre: np.ndarray, radius: float) -> Ring:
    """The silhouette of a sphere."""
    return Ring(centre, _X * radius, _Y * radius)


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
    """The union of the convex hulls of each two groups of rings that follow one another."""

    number: int
    part: int
    groups: Sequence[Sequence[Ring]]
    material: Material
    depth: float
    shadow: bool


class Cover(NamedTuple):
    """A region of a solid's surface in another material."""

    solid: int
    part: int
    outline: np.ndarray
    material: Material


class _Drawing(NamedTuple):
    """All solids of a figure on the canvas."""

    rims: np.ndarray
    """i32 [R, N, 2], see ``canvas.fixed``."""
    sizes: list[list[int]]
    """Rings per group of each solid."""
    starts: np.ndarray
    form: Form


class Figure:
    """Collects the solids of one person, then paints them."""

    def __init__(self, camera: Camera, person: int) -> None:
        self.camera = camera
        self.person = person
        self._solids: list[Solid] = []
        self._steps: list[tuple[float, Solid | Cover | Callable[[Canvas], None]]] = []

    def owner(self, part: int) -> int:
        """The owner number of a part; props belong to the scenery."""
        return self.person * 64 + part if part else 0

    def add(
        self,
        part: int,
        rings: Sequence[Ring | Sequence[Ring]],
        material: Material,
        bias: float = 0.0,
        depth: float | None = None,
        shadow: bool = True,
    ) -> Solid:
        """Add a solid. What is farther is painted first; of equal depth, what was added first.

        Its depth is ``depth``, or that of its first and last rings' mean plus ``bias``.
        """
        groups = [[ring] if isinstance(ring, Ring) else ring for ring in rings]
        if depth is None:
            ends = [float(ring.centre[2]) for ring in (*groups[0], *groups[-1])]
            depth = sum(ends) / len(ends) + bias
        solid = Solid(len(self._solids), part, groups, material, depth, shadow)
        self._solids.append(solid)
        self._steps.append((depth, solid))
        return solid

    def cover(
        self,
        solid: Solid,
        outline: np.ndarray | None,
        material: Material,
        depth: float | None = None,
    ) -> None:
        """Paint a region (see ``region``) of a solid's surface right after it; None is nothing."""
        if outline is not None:
            step = Cover(solid.number, solid.part, outline, material)
            self._steps.append((solid.depth if depth is None else depth, step))

    def also(self, depth: float, draw: Callable[[Canvas], None]) -> None:
        """Call ``draw`` in its turn."""
        self._steps.append((depth, draw))

    def paint(self, canvas: Canvas) -> None:
        """Paint everything, far to near."""
        drawing = self._project()
        steps = [step for _, step in sorted(self._steps, key=lambda item: item[0])]
        dressed = [step for step in steps if isinstance(step, (Solid, Cover))]
        bodies = [step.number if isinstance(step, Solid) else step.solid for step in dressed]
        materials = [step.material for step in dressed]
        coats = iter(coats_of(canvas.light, drawing.form, bodies, materials, self.camera.scale))
        for step in steps:
            if isinstance(step, Solid):
                self._paint_solid(canvas, step, next(coats), drawing)
            elif isinstance(step, Cover):
                outline = self.camera.project(step.outline)
                corners = np.stack([outline.min(axis=0), outline.max(axis=0)])
                canvas.paint([fixed(outline)], corners, next(coats), self.owner(step.part))
            else:
                step(canvas)

    def _project(self) -> _Drawing:
        rings = [ring for solid in self._solids for group in solid.groups for ring in group]
        vectors = np.array([vector for ring in rings for vector in ring]).reshape(-1, 3, 1, 3)
        turn = np.linspace(0, 2 * np.pi, 12 if self.camera.scale < 400 else 20, endpoint=False)[:, None]
        rims = self.camera.project(vectors[:, 0] + np.cos(turn) * vectors[:, 1] + np.sin(turn) * vectors[:, 2])
        sizes = [[len(group) for group in solid.groups] for solid in self._solids]
        counts = np.array([sum(groups) for groups in sizes])
        starts = np.cumsum(counts) - counts
        axes = self.camera.project(vectors[:, 0, 0][np.stack([starts, starts + counts - 1], axis=1)])
        return _Drawing(fixed(rims), sizes, starts, form_of(rims.reshape(-1, 2), starts * len(turn), axes))

    def _paint_solid(self, canvas: Canvas, solid: Solid, coat: Coat, drawing: _Drawing) -> None:
        sizes = drawing.sizes[solid.number]
        start = int(drawing.starts[solid.number])
        polygons = []
        for first, second in zip(sizes, sizes[1:] or [0], strict=False):
            polygons.append(cv2.convexHull(drawing.rims[start : start + first + second].reshape(-1, 2))[:, 0])
            start += first
        width = self.camera.scale * 0.012 if solid.shadow else 0.0
        canvas.paint(polygons, drawing.form.corners[solid.number], coat, self.owner(solid.part), width)
