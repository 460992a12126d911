"""Faces: eyes, brows, cheeks, mouth, glasses. Lengths are head heights above the chin (see ``Rig.on_head``)."""

from __future__ import annotations

import numpy as np

from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.rig import SIDES, Rig
from datamodules.synthetic.solids import Figure, Part
from datamodules.synthetic.wardrobe import Color, Hair, Look

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
    if _faces_viewer(rig, 0.0):
        curve = [(-0.11, 0.03), (-0.05, -0.005), (0.05, -0.005), (0.11, 0.03)]
        mouth = np.stack([rig.on_head(x, 0.18 + y, 0.425 - abs(x) * 0.5) for x, y in curve])
        canvas.line(project(mouth), canvas.shade(look.lips, 0.95), pixel * 0.04)
