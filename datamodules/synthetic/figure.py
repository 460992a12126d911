"""A dressed figure: a rig and a look become solids."""

from __future__ import annotations

import numpy as np

from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.head import add_head
from datamodules.synthetic.rig import SIDES, Rig
from datamodules.synthetic.solids import Camera, Figure, Part, Ring, ball, region, slice_of
from datamodules.synthetic.wardrobe import Bottom, Look, Material, Top

_UPPER_ARM = ((0.0, 0.035), (0.35, 0.033), (1.0, 0.0255))
_FOREARM = ((0.0, 0.0255), (0.25, 0.0275), (1.0, 0.0175))
_THIGH = ((0.0, 0.05), (0.25, 0.055), (1.0, 0.0405))
_SHIN = ((0.0, 0.0405), (0.28, 0.0425), (1.0, 0.025))
_TEE_SLEEVE, _SHORT_LEG = 0.62, 0.72
"""Where short sleeves and legs end, as a fraction of the upper arm and of the thigh."""


def dress(rig: Rig, look: Look, camera: Camera, person: int, seat: Material | None = None) -> Figure:
    """Build the figure of one person.

    Args:
        person: 1 or more; becomes the owner of the pixels.
        seat: a stool under the person, which is nobody's.
    """
    figure = Figure(camera, person)
    for side in (0, 1):
        _add_leg(figure, rig, look, side)
        _add_arm(figure, rig, look, side)
    _add_trunk(figure, rig, look)
    if look.bottom in (Bottom.skirt, Bottom.dress):
        _add_skirt(figure, rig, look)
    if look.bag is not None:
        _add_bag(figure, rig, look.bag)
    neck = [
        ball(rig.chest - rig.chest_frame @ (0, 0.01, 0), 0.036),
        ball(rig.chin + rig.head_frame @ (0, 0.02, 0), 0.031),
    ]
    figure.add(Part.neck, _grown(neck, rig.body.girth), look.skin, bias=-0.03)
    add_head(figure, rig, look)
    if seat is not None:
        _add_seat(figure, rig, seat)
    return figure


def _grown(rings: list[Ring], factor: float) -> list[Ring]:
    return [Ring(ring.centre, ring.u * factor, ring.v * factor) for ring in rings]


def _limb(
    start: np.ndarray,
    end: np.ndarray,
    profile: tuple[tuple[float, float], ...],
    girth: float,
    add: float,
    upto: float = 1.0,
) -> list[Ring]:
    """Balls along a bone up to a fraction of it; ``add`` is the room in the cloth."""
    at, radii = np.array(profile).T
    places = [place for place in at if place < upto] + [upto]
    return [ball(start + (end - start) * place, float(np.interp(place, at, radii)) * girth + add) for place in places]


def _add_arm(figure: Figure, rig: Rig, look: Look, side: int) -> None:
    girth = rig.body.girth
    shoulder, elbow, wrist, fingers = rig.shoulders[side], rig.elbows[side], rig.wrists[side], rig.fingers[side]
    covered = look.top in (Top.sleeves, Top.jacket)
    room = look.loose * 0.6 + (0.003 if look.top is Top.jacket else 0.0)
    material = look.sleeve if covered else look.skin
    bias = 0.02
    upper = figure.add(
        Part.upper_arm + side, _limb(shoulder, elbow, _UPPER_ARM, girth, room if covered else 0), material, bias
    )
    if look.top is Top.tee:
        rings = _limb(shoulder, elbow, _UPPER_ARM, girth, 0.004 + look.loose, _TEE_SLEEVE)
        figure.add(Part.upper_arm + side, rings, look.sleeve, bias=upper + 1e-3 - _mean_depth(rings))
    if side == 0 and look.armband is not None:
        band = [ball(shoulder + (elbow - shoulder) * f, 0.033 * girth + room + 0.005) for f in (0.5, 0.68)]
        figure.add(
            Part.upper_arm, _flat(band, elbow - shoulder), Material(look.armband), upper + 2e-3 - _mean_depth(band)
        )
    fore = figure.add(
        Part.forearm + side, _limb(elbow, wrist, _FOREARM, girth, room if covered else 0), material, bias + 0.002
    )
    palm = wrist + (fingers - wrist) * 0.42
    hand = [ball(wrist, 0.0165 * girth), ball(palm, 0.021 * girth), ball(fingers, 0.011 * girth)]
    figure.add(Part.hand + side, hand, look.skin, fore + (1e-3 if not covered else -1e-3) - _mean_depth(hand))
    if side == 0 and look.watch is not None:
        band = [ball(elbow + (wrist - elbow) * f, 0.0185 * girth + room + 0.003) for f in (0.86, 0.96)]
        figure.add(Part.forearm, _flat(band, wrist - elbow), Material(look.watch), fore + 2e-3 - _mean_depth(band))


def _mean_depth(rings: list[Ring]) -> float:
    return float(rings[0].centre[2] + rings[-1].centre[2]) / 2


def _flat(rings: list[Ring], along: np.ndarray) -> list[Ring]:
    """The same rings as flat discs across ``along``: a band without round ends."""
    axis = along / np.linalg.norm(along)
    helper = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    u = np.cross(axis, helper)
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    return [Ring(ring.centre, u * ring.u[0], v * ring.u[0]) for ring in rings]


def _add_leg(figure: Figure, rig: Rig, look: Look, side: int) -> None:
    girth = rig.body.girth
    hip, knee, ankle = rig.hips[side], rig.knees[side], rig.ankles[side]
    covered = look.bottom is Bottom.trousers
    room = look.loose if covered else 0.0
    material = look.lower if covered else look.skin
    thigh = figure.add(Part.thigh + side, _limb(hip, knee, _THIGH, girth, room), material)
    if look.bottom is Bottom.shorts:
        rings = _limb(hip, knee, _THIGH, girth, 0.005 + look.loose, _SHORT_LEG)
        figure.add(Part.thigh + side, rings, look.lower, thigh + 1e-3 - _mean_depth(rings))
    rings = _limb(knee, ankle, _SHIN, girth, room)
    if covered and look.loose > 0.004:
        rings[-1] = ball(ankle, 0.031 * girth + look.loose)
    shin = figure.add(Part.shin + side, rings, material, 0.002)
    if not covered and look.sock is not None:
        sock = [ball(knee + (ankle - knee) * f, r * girth + 0.002) for f, r in ((0.68, 0.034), (1.0, 0.026))]
        figure.add(Part.shin + side, sock, look.sock, shin + 1e-3 - _mean_depth(sock))
    _add_shoe(figure, rig, look, side, shin)


def _add_shoe(figure: Figure, rig: Rig, look: Look, side: int, shin: float) -> None:
    girth, frame = rig.body.girth, rig.foot_frames[side]
    ankle, heel, toe = rig.ankles[side], rig.heels[side], rig.toes[side]
    ball_of_foot = heel + (toe - heel) * 0.7 + frame @ (0, 0.004, 0)
    upper = [
        ball(ankle + frame @ (0, -0.008, -0.004), 0.026 * girth),
        ball(heel + frame @ (0, 0.006, 0.012), 0.027 * girth),
    ]
    front = [ball(ball_of_foot, 0.024 * girth), ball(toe + frame @ (0, 0.004, 0), 0.018 * girth)]
    rings: list[list[Ring]] = [[upper[0], upper[1]], [upper[1], front[0]], [front[1]]]
    nearer = float(ball_of_foot[2] - ankle[2])
    depth = shin + (0.01 + 0.5 * nearer if nearer > 0 else -0.005 + 0.5 * nearer)
    own = float(sum(ring.centre[2] for ring in (*rings[0], *rings[-1])) / 3)
    figure.add(Part.foot + side, rings, look.shoe, depth - own)


def _add_trunk(figure: Figure, rig: Rig, look: Look) -> None:
    girth, waist, body = 0.5 + 0.5 * rig.body.girth, rig.body.waist, rig.body
    hips = [
        slice_of(rig.pelvis_frame @ (0, 0.075, 0), rig.pelvis_frame, 0.078 * waist, 0.055 * waist),
        slice_of(rig.pelvis_frame @ (0, 0.01, 0), rig.pelvis_frame, (0.044 + body.hip) * girth, 0.062 * girth),
        slice_of(rig.pelvis_frame @ (0, -0.035, 0), rig.pelvis_frame, 0.062 * girth, 0.05 * girth),
    ]
    figure.add(Part.pelvis, hips, look.lower, bias=-0.005, shadow=False)
    room = look.loose + (0.004 if look.top is Top.jacket else 0.0)
    rings = _shirt_rings(rig, room)
    outer = look.jacket if look.top is Top.jacket else look.shirt
    depth = figure.add(Part.torso, rings, outer, bias=0.012)
    figure.also(depth + 1e-4, lambda canvas: _paint_front(canvas, figure, rig, look, rings))


def _shirt_rings(rig: Rig, room: float) -> list[Ring]:
    girth, waist, body = 0.5 + 0.5 * rig.body.girth, rig.body.waist, rig.body

    def at_chest(y: float, half_width: float, half_depth: float) -> Ring:
        centre = rig.chest + rig.chest_frame @ (0, y, 0)
        return slice_of(centre, rig.chest_frame, half_width * girth + room, half_depth * girth + room)

    middle = rig.waist_frame @ (0, 0.42 * body.torso, 0)
    return [
        at_chest(0.034, 0.032, 0.034),
        at_chest(0.018, body.shoulder * 0.68, 0.042),
        at_chest(-0.02, body.shoulder * 0.93, 0.056),
        at_chest(-0.075, body.shoulder * 0.91, 0.065),
        slice_of(middle, rig.waist_frame, 0.076 * waist + room, 0.056 * waist + room),
        slice_of(
            rig.pelvis_frame @ (0, 0.0, 0), rig.pelvis_frame, (0.044 + body.hip) * girth + room, 0.063 * girth + room
        ),
    ]


def _paint_front(canvas: Canvas, figure: Figure, rig: Rig, look: Look, rings: list[Ring]) -> None:
    """What lies on the shirt: an open jacket's inside, a neckline, the badge on the left of the chest."""
    up = rig.chest_frame[:, 1]
    if look.top is Top.jacket:
        figure.paint_region(
            canvas, region(rings, [-50, -34, -26, -22, -20, -24], [50, 34, 26, 22, 20, 24]), Part.torso, look.shirt, up
        )
    neckline = region(rings[:3], [-85, -30, -4], [85, 30, 4])
    figure.paint_region(canvas, neckline, Part.torso, look.skin, up)
    if look.badge is not None:
        ring = rings[3]
        corners = [
            ring.at(np.array([angle]))[0] + up * y for angle, y in ((28, 0.045), (52, 0.045), (52, 0.008), (28, 0.008))
        ]
        normal = np.sin(np.radians(40)) * rig.chest_frame[:, 0] + np.cos(np.radians(40)) * rig.chest_frame[:, 2]
        if normal[2] > 0.1:
            canvas.fill(figure.camera.project(np.stack(corners)), canvas.shade(look.badge, 0.95))


def _add_skirt(figure: Figure, rig: Rig, look: Look) -> None:
    girth = rig.body.girth
    rings: list[list[Ring]] = [
        [slice_of(rig.pelvis_frame @ (0, 0.06, 0), rig.pelvis_frame, 0.08 * rig.body.waist, 0.057 * rig.body.waist)]
    ]
    for fraction in np.linspace(0.05, look.skirt_length, 4):
        group = []
        for side in (0, 1):
            thigh, shin = rig.knees[side] - rig.hips[side], rig.ankles[side] - rig.knees[side]
            centre = rig.hips[side] + thigh * min(fraction, 1) + shin * max(fraction - 1, 0)
            group.append(ball(centre, (0.052 + 0.012 * fraction) * girth))
        rings.append(_flat_skirt(rig, group))
    figure.add(Part.skirt, rings, look.lower, bias=0.03)


def _flat_skirt(rig: Rig, group: list[Ring]) -> list[Ring]:
    """Rings across the thighs, so that the hem is cut straight."""
    along = (rig.knees - rig.hips).mean(axis=0)
    return _flat(group, along if np.linalg.norm(along) > 1e-6 else np.array([0.0, -1.0, 0.0]))


def _add_bag(figure: Figure, rig: Rig, material: Material) -> None:
    hip = rig.pelvis_frame @ (-(rig.body.hip + 0.085), -0.02, 0.0)
    frame = rig.pelvis_frame
    rings = [slice_of(hip + frame @ (0, y, 0), frame, 0.03, w) for y, w in ((0.04, 0.05), (-0.06, 0.062))]
    depth = figure.add(Part.bag, rings, material, bias=0.015)
    facing = 1.0 if rig.chest_frame[2, 2] > 0 else -1.0
    strap = np.stack(
        [
            rig.shoulders[0] + rig.chest_frame @ (-0.02, 0.04, 0.0),
            rig.chest + rig.chest_frame @ (0.02, -0.08, facing * 0.075),
            hip + frame @ (0.02, 0.05, facing * 0.03),
        ]
    )
    torso = float(rig.chest[2] + rig.pelvis[2]) / 2
    figure.also(
        max(min(depth, torso + 0.03), torso + 0.013),
        lambda canvas: canvas.line(
            figure.camera.project(strap), canvas.shade(material.color, 0.8), figure.camera.scale * 0.014
        ),
    )


def _add_seat(figure: Figure, rig: Rig, material: Material) -> None:
    """A block from below the thighs to the floor."""
    floor = float(min(rig.toes[:, 1].min(), rig.heels[:, 1].min())) - 0.02
    frame = rig.pelvis_frame
    top = rig.pelvis + frame @ (0, -0.05, 0.03)
    up = np.array([0.0, 1.0, 0.0])
    corners = [np.array([sx * 0.13, 0, sz * 0.1]) for sx in SIDES for sz in SIDES]
    rings = [
        [ball(top + frame @ corner + up * drop, 0.012) for corner in corners]
        for drop in (0.0, min(floor - top[1], -0.05))
    ]
    figure.add(Part.prop, rings, material, bias=-0.03 - _seat_depth(rings) + float(rig.pelvis[2]), shadow=False)


def _seat_depth(rings: list[list[Ring]]) -> float:
    ends = [ring.centre[2] for group in rings for ring in group]
    return float(sum(ends) / len(ends))
