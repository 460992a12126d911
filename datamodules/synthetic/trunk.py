"""The trunk and what goes with it: shirt, jacket, skirt, bag, seat. Lengths are in standing heights."""

from __future__ import annotations

import numpy as np

from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.limbs import flat
from datamodules.synthetic.palette import Color
from datamodules.synthetic.rig import SIDES, Rig
from datamodules.synthetic.solids import Figure, Part, Ring, ball, region, slice_of
from datamodules.synthetic.wardrobe import Look, Material, Top


def add_trunk(figure: Figure, rig: Rig, look: Look) -> None:
    """Hips and upper body; an open jacket's inside, the neckline, the badge on the left of the chest."""
    girth, waist, frame = 0.5 + 0.5 * rig.body.girth, rig.body.waist, rig.pelvis_frame
    hips = [
        slice_of(frame @ (0, 0.075, 0), frame, 0.078 * waist, 0.055 * waist),
        slice_of(frame @ (0, 0.01, 0), frame, (0.044 + rig.body.hip) * girth, 0.062 * girth),
        slice_of(frame @ (0, -0.035, 0), frame, 0.062 * girth, 0.05 * girth),
    ]
    figure.add(Part.pelvis, hips, look.lower, bias=-0.005, shadow=False)
    rings = _shirt(rig, look.loose + (0.004 if look.top is Top.jacket else 0.0))
    torso = figure.add(Part.torso, rings, look.jacket if look.top is Top.jacket else look.shirt, bias=0.012)
    if look.top is Top.jacket:
        reach = [50.0, 34.0, 26.0, 22.0, 20.0, 24.0]
        figure.cover(torso, region(rings, [-r for r in reach], reach), look.shirt)
    reach = [85.0, 30.0, 4.0]
    figure.cover(torso, region(rings[:3], [-r for r in reach], reach), look.skin)
    if look.badge is not None:
        badge, chest = look.badge, rings[3]
        figure.also(torso.depth, lambda canvas: _paint_badge(canvas, figure, rig, chest, badge))


def _shirt(rig: Rig, room: float) -> list[Ring]:
    """Rings from the neck to the hem."""
    girth, waist, body = 0.5 + 0.5 * rig.body.girth, rig.body.waist, rig.body

    def at_chest(y: float, half_width: float, half_depth: float) -> Ring:
        centre = rig.chest + rig.chest_frame @ (0, y, 0)
        return slice_of(centre, rig.chest_frame, half_width * girth + room, half_depth * girth + room)

    hip = (0.044 + body.hip) * girth + room
    return [
        at_chest(0.034, 0.032, 0.034),
        at_chest(0.018, body.shoulder * 0.68, 0.042),
        at_chest(-0.02, body.shoulder * 0.93, 0.056),
        at_chest(-0.075, body.shoulder * 0.91, 0.065),
        slice_of(
            rig.waist_frame @ (0, 0.42 * body.torso, 0), rig.waist_frame, 0.076 * waist + room, 0.056 * waist + room
        ),
        slice_of(np.zeros(3), rig.pelvis_frame, hip, 0.063 * girth + room),
    ]


def _paint_badge(canvas: Canvas, figure: Figure, rig: Rig, chest: Ring, color: Color) -> None:
    angle = np.radians(40)
    normal = np.sin(angle) * rig.chest_frame[:, 0] + np.cos(angle) * rig.chest_frame[:, 2]
    if normal[2] > 0.1:
        edges = chest.at(np.array([28.0, 52.0]))
        up = rig.chest_frame[:, 1]
        corners = np.stack([edges[0] + up * 0.045, edges[1] + up * 0.045, edges[1] + up * 0.008, edges[0] + up * 0.008])
        canvas.fill(figure.camera.project(corners), canvas.shade(color, 0.95))


def add_skirt(figure: Figure, rig: Rig, look: Look) -> None:
    """Around both thighs, and shins if it is long, cut straight at the hem."""
    girth, waist = rig.body.girth, rig.body.waist
    along = (rig.knees - rig.hips).mean(axis=0)
    top = rig.pelvis_frame @ (0, 0.06, 0)
    groups: list[list[Ring]] = [[slice_of(top, rig.pelvis_frame, 0.08 * waist, 0.057 * waist)]]
    for fraction in np.linspace(0.05, look.skirt_length, 4):
        group = []
        for side in (0, 1):
            thigh, shin = rig.knees[side] - rig.hips[side], rig.ankles[side] - rig.knees[side]
            centre = rig.hips[side] + thigh * min(fraction, 1) + shin * max(fraction - 1, 0)
            group.append(ball(centre, (0.052 + 0.012 * fraction) * girth))
        groups.append(flat(group, along if np.linalg.norm(along) > 1e-6 else np.array([0.0, -1.0, 0.0])))
    figure.add(Part.skirt, groups, look.lower, bias=0.03)


def add_bag(figure: Figure, rig: Rig, material: Material) -> None:
    """On the right hip, its strap over the left shoulder."""
    frame = rig.pelvis_frame
    hip = frame @ (-(rig.body.hip + 0.085), -0.02, 0.0)
    rings = [slice_of(hip + frame @ (0, y, 0), frame, 0.03, w) for y, w in ((0.04, 0.05), (-0.06, 0.062))]
    bag = figure.add(Part.bag, rings, material, bias=0.015)
    facing = 1.0 if rig.chest_frame[2, 2] > 0 else -1.0
    strap = np.stack(
        [
            rig.shoulders[0] + rig.chest_frame @ (-0.035, 0.03, 0.0),
            rig.chest + rig.chest_frame @ (0.02, -0.08, facing * 0.075),
            hip + frame @ (0.02, 0.05, facing * 0.03),
        ]
    )
    torso = float(rig.chest[2] + rig.pelvis[2]) / 2

    def paint_strap(canvas: Canvas) -> None:
        width = figure.camera.scale * 0.014
        canvas.line(figure.camera.project(strap), canvas.shade(material.color, 0.8), width)

    figure.also(min(max(bag.depth, torso + 0.013), torso + 0.03), paint_strap)


def add_seat(figure: Figure, rig: Rig, material: Material) -> None:
    """A block from below the thighs to the floor."""
    floor = float(min(rig.toes[:, 1].min(), rig.heels[:, 1].min())) - 0.02
    top = rig.pelvis_frame @ (0, -0.05, 0.03)
    drop = np.array([0.0, min(floor - top[1], -0.05), 0.0])
    corners = [top + rig.pelvis_frame @ (sx * 0.13, 0, sz * 0.1) for sx in SIDES for sz in SIDES]
    groups = [[ball(corner, 0.012) for corner in corners], [ball(corner + drop, 0.012) for corner in corners]]
    figure.add(Part.prop, groups, material, depth=float(rig.pelvis[2]) - 0.03, shadow=False)
