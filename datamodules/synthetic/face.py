"""Faces: eyes, brows, cheeks, mouth, glasses. Lengths are head heights above the chin (see ``Rig.on_head``)."""

from __future__ import annotations

import numpy as np

from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.rig import SIDES, Rig
from datamodules.synthetic.solids import Figure, Part
from datamodules.synthetic.wardrobe import Look

EYE = (0.15, 0.5, 0.385)
"""The left one; the right one has the opposite x."""


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


def paint_face(canvas: Canvas, figure: Figure, rig: Rig, look: Look) -> None:
    """Paint what of a face is turned to the viewer, in as much detail as its size allows."""
    for sign in SIDES:
        if _faces_viewer(rig, sign * EYE[0]):
            _paint_half(canvas, figure, rig, look, sign)
    if _faces_viewer(rig, 0.0):
        curve = [(-0.11, 0.03), (-0.05, -0.005), (0.05, -0.005), (0.11, 0.03)]
        mouth = np.stack([rig.on_head(x, 0.18 + y, 0.425 - abs(x) * 0.5) for x, y in curve])
        width = figure.camera.scale * rig.body.head * 0.04
        canvas.line(figure.camera.project(mouth), canvas.shade(look.lips, 0.95), width)


def _paint_half(canvas: Canvas, figure: Figure, rig: Rig, look: Look, sign: float) -> None:
    x, y, z = sign * EYE[0], EYE[1], EYE[2]
    pixels = figure.camera.scale * rig.body.head

    def disc(dx: float, dy: float, dz: float, half_width: float, half_height: float) -> np.ndarray:
        return figure.camera.project(_disc(rig, (x + dx, y + dy, z + dz), half_width, half_height))

    owner = figure.owner(Part.head)
    if look.cheeks is not None:
        canvas.fill(disc(0.3 * x, -0.2, -0.015, 0.065, 0.045), canvas.shade(look.cheeks, 0.97))
    if pixels > 26:
        canvas.fill(disc(0, 0, 0, 0.075, 0.048), (246, 246, 244), owner)
    canvas.fill(disc(0, 0, 0.005, 0.04, 0.045), look.iris, owner)
    if pixels > 44:
        canvas.fill(disc(0, 0, 0.006, 0.02, 0.022), (16, 14, 14), owner)
        canvas.fill(disc(0.014, 0.016, 0.007, 0.01, 0.01), (255, 255, 255), owner)
    brow = np.stack([rig.on_head(x + d, 0.6 + h, z) for d, h in ((-0.075, 0.0), (0.0, 0.03), (0.075, 0.0))])
    canvas.line(figure.camera.project(brow), canvas.shade(look.hair_color.color, 0.75), pixels * 0.03)
    if look.glasses:
        rim = disc(0, -0.01, 0.02, 0.11, 0.085)
        canvas.line(np.concatenate([rim, rim[:1]]), (38, 36, 40), max(1.0, pixels * 0.022))
