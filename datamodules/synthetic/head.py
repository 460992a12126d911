"""Heads: skull, face, ears, hair and hats. Lengths are head heights above the chin (see ``Rig.on_head``)."""

from __future__ import annotations

import numpy as np

from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.rig import SIDES, Rig
from datamodules.synthetic.solids import Figure, Part, Ring, Solid, ball, region
from datamodules.synthetic.wardrobe import Color, Hair, Look, Material

NOSE = (0.0, 0.335, 0.475)
EYE = (0.15, 0.5, 0.385)
EAR = (0.36, 0.43, -0.03)
"""Left one; the right one has the opposite x."""
_SKULL = (
    # height, half width, front, back
    (0.00, 0.13, 0.36, 0.10),
    (0.08, 0.22, 0.41, 0.00),
    (0.22, 0.29, 0.42, -0.15),
    (0.38, 0.325, 0.42, -0.33),
    (0.55, 0.345, 0.42, -0.44),
    (0.72, 0.34, 0.40, -0.46),
    (0.86, 0.28, 0.31, -0.38),
    (0.95, 0.19, 0.19, -0.26),
    (1.00, 0.09, 0.07, -0.13),
)
_DETAIL = 16.0
"""Head height in canvas pixels below which a face is left to its shading."""


def add_head(figure: Figure, rig: Rig, look: Look) -> None:
    """Add the head as one step, and hanging hair as its own."""
    if look.hair in (Hair.bob, Hair.long):
        _add_curtain(figure, rig, look)
    depth = float(rig.on_head(0, 0.5, 0)[2])
    figure.also(depth + 0.01, lambda canvas: _paint(canvas, figure, rig, look))


def _ring(rig: Rig, height: float, half_width: float, front: float, back: float) -> Ring:
    size, frame = rig.body.head, rig.head_frame
    centre = rig.on_head(0, height, (front + back) / 2)
    return Ring(centre, frame[:, 0] * half_width * size, frame[:, 2] * (front - back) / 2 * size)


def _add_curtain(figure: Figure, rig: Rig, look: Look) -> None:
    end = -0.1 if look.hair is Hair.bob else -0.75
    rings = [
        _ring(rig, 0.75, 0.37, 0.02, -0.48),
        _ring(rig, 0.3, 0.4, -0.02, -0.48),
        _ring(rig, end * 0.5, 0.39, -0.08, -0.44),
        _ring(rig, end, 0.33, -0.14, -0.38),
    ]
    figure.add(Part.curtain, rings, look.hair_color, bias=-0.012)


def _paint(canvas: Canvas, figure: Figure, rig: Rig, look: Look) -> None:
    up = rig.head_frame[:, 1]
    skull = [_ring(rig, *row) for row in _SKULL]
    near, far = (0, 1) if rig.head_frame[2, 0] > 0 else (1, 0)
    detailed = figure.camera.scale * rig.body.head > _DETAIL
    if look.hair is Hair.bun:
        _paint_solid(canvas, figure, [ball(rig.on_head(0, 0.88, -0.42), 0.2 * rig.body.head)], look.hair_color)
    behind = rig.head_frame[2, 2] > 0
    if look.hair is Hair.ponytail and behind:
        _paint_ponytail(canvas, figure, rig, look)
    _paint_ear(canvas, figure, rig, look, far)
    _paint_solid(canvas, figure, skull, look.skin, shadow=True)
    if look.hair is not Hair.bald:
        _paint_hair(canvas, figure, rig, look)
        heights = [row[0] for row in _SKULL if 0.2 < row[0] < look.fringe]
        rows = [row for row in _SKULL if row[0] in heights]
        edge = _ring(rig, look.fringe, 0.325, 0.385, -0.4)
        face = [_ring(rig, *row) for row in rows] + [edge]
        reach = [88.0 if height < 0.45 else 74.0 for height in heights] + [52.0]
        figure.paint_region(canvas, region(face, [-r for r in reach], reach), Part.head, look.skin, up)
    if look.beard:
        rows = [row for row in _SKULL if row[0] < 0.36]
        reach = [100.0, 92.0, 86.0][: len(rows)]
        figure.paint_region(
            canvas, region([_ring(rig, *r) for r in rows], [-r for r in reach], reach), Part.head, look.hair_color, up
        )
    if look.hair not in (Hair.bob, Hair.long):
        _paint_ear(canvas, figure, rig, look, near)
    if detailed:
        _paint_face(canvas, figure, rig, look)
    else:
        _paint_solid(canvas, figure, [ball(rig.on_head(0, 0.335, 0.44), 0.05 * rig.body.head)], look.skin)
    if look.hat is not None:
        _paint_hat(canvas, figure, rig, look.hat)
    if look.hair is Hair.ponytail and not behind:
        _paint_ponytail(canvas, figure, rig, look)


def _paint_solid(
    canvas: Canvas, figure: Figure, rings: list[Ring], material: Material, shadow: bool = False, part: int = Part.head
) -> None:
    figure.paint_solid(canvas, Solid(part, [[ring] for ring in rings], material, 0.0, shadow))


def _paint_hair(canvas: Canvas, figure: Figure, rig: Rig, look: Look) -> None:
    grow = 0.09 if look.hair is Hair.curly else 0.035
    lowest = 0.3 if look.hair in (Hair.short, Hair.bun, Hair.ponytail) else 0.15
    rings = []
    for height, half_width, front, back in _SKULL:
        if height > lowest:
            reach = front + grow * 0.6 if height > look.fringe else min(front, 0.1)
            lift = grow * max(0.0, (height - 0.6) / 0.4)
            rings.append(_ring(rig, height + lift, half_width + grow, reach, back - grow))
    _paint_solid(canvas, figure, rings, look.hair_color)


def _paint_ponytail(canvas: Canvas, figure: Figure, rig: Rig, look: Look) -> None:
    size = rig.body.head
    spine = [(0.78, -0.46, 0.08), (0.6, -0.62, 0.13), (0.2, -0.62, 0.12), (-0.2, -0.5, 0.04)]
    _paint_solid(canvas, figure, [ball(rig.on_head(0, y, z), r * size) for y, z, r in spine], look.hair_color)


def _paint_ear(canvas: Canvas, figure: Figure, rig: Rig, look: Look, side: int) -> None:
    x, y, z = EAR
    size, frame = rig.body.head, rig.head_frame
    rings = [
        Ring(rig.on_head(SIDES[side] * out, y, z), frame[:, 2] * 0.06 * size, frame[:, 1] * 0.1 * size)
        for out in (x - 0.05, x + 0.02)
    ]
    _paint_solid(canvas, figure, rings, look.skin, shadow=True)


def _paint_hat(canvas: Canvas, figure: Figure, rig: Rig, hat: Material) -> None:
    size, frame = rig.body.head, rig.head_frame
    crown = [
        _ring(rig, height + 0.05, half_width + 0.06, front + 0.05, back - 0.06)
        for height, half_width, front, back in _SKULL
        if height > 0.65
    ]
    brim = [
        Ring(rig.on_head(0, 0.77, z), frame[:, 0] * w * size, frame[:, 2] * 0.2 * size)
        for z, w in ((0.2, 0.32), (0.5, 0.26))
    ]
    parts = [crown, brim] if frame[2, 2] > 0 else [brim, crown]
    for rings in parts:
        _paint_solid(canvas, figure, rings, hat, shadow=True)


def _disc(
    rig: Rig, centre: tuple[float, float, float], half_width: float, half_height: float, n: int = 12
) -> np.ndarray:
    """An ellipse that lies on the face, f64 [n, 3] in camera space."""
    angle = np.arctan2(centre[0], 0.4)
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    across = np.cos(turn) * half_width
    local = np.stack([across * np.cos(angle), np.sin(turn) * half_height, -across * np.sin(angle)], axis=-1)
    return rig.chin + (local + centre) @ rig.head_frame.T * rig.body.head


def _faces_viewer(rig: Rig, x: float) -> bool:
    """Whether the face's surface at ``x`` is turned to the viewer."""
    normal = np.array([x, 0.0, 0.36])
    return bool((rig.head_frame @ normal)[2] / np.linalg.norm(normal) > 0.12)


def _paint_face(canvas: Canvas, figure: Figure, rig: Rig, look: Look) -> None:
    owner, project = figure.owner(Part.head), figure.camera.project
    pixel = figure.camera.scale * rig.body.head
    dark: Color = canvas.shade(look.hair_color.color, 0.75)
    for sign in SIDES:
        if not _faces_viewer(rig, sign * EYE[0]):
            continue
        x = sign * EYE[0]
        canvas.fill(project(_disc(rig, (x * 1.3, 0.3, 0.37), 0.07, 0.05)), canvas.shade(look.lips, 1.15), None) if (
            look.hair in (Hair.bob, Hair.long, Hair.ponytail)
        ) else None
        if pixel > 26:
            canvas.fill(project(_disc(rig, (x, EYE[1], EYE[2]), 0.075, 0.048)), (246, 246, 244), owner)
        canvas.fill(project(_disc(rig, (x, EYE[1], EYE[2] + 0.005), 0.04, 0.045)), look.iris, owner)
        if pixel > 44:
            canvas.fill(project(_disc(rig, (x, EYE[1], EYE[2] + 0.006), 0.02, 0.022)), (16, 14, 14), owner)
            canvas.fill(project(_disc(rig, (x + 0.014, EYE[1] + 0.016, EYE[2] + 0.007), 0.01, 0.01)), (255, 255, 255))
        brow = np.stack([rig.on_head(x + d, 0.6 + h, EYE[2]) for d, h in ((-0.075, 0.0), (0.0, 0.03), (0.075, 0.0))])
        canvas.line(project(brow), dark, pixel * 0.03)
        if look.glasses:
            frame = project(_disc(rig, (x, EYE[1] - 0.01, EYE[2] + 0.02), 0.11, 0.085))
            canvas.line(np.concatenate([frame, frame[:1]]), (38, 36, 40), max(1.0, pixel * 0.022))
    if rig.head_frame[2, 2] > -0.2:
        nose = [
            ball(rig.on_head(0, 0.47, 0.39), 0.02 * rig.body.head),
            ball(rig.on_head(0, 0.345, 0.435), 0.052 * rig.body.head),
        ]
        _paint_solid(canvas, figure, nose, look.skin, shadow=True)
    if _faces_viewer(rig, 0.0):
        curve = [(-0.11, 0.03), (-0.05, -0.005), (0.05, -0.005), (0.11, 0.03)]
        mouth = np.stack([rig.on_head(x, 0.18 + y, 0.425 - abs(x) * 0.5) for x, y in curve])
        canvas.line(project(mouth), canvas.shade(look.lips, 0.95), pixel * 0.04)
