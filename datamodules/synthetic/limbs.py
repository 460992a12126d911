"""Arms and legs with what covers them. Radii are in standing heights."""

from __future__ import annotations

import numpy as np

from datamodules.synthetic.rig import Rig
from datamodules.synthetic.solids import Figure, Part, Ring, ball
from datamodules.synthetic.wardrobe import Bottom, Look, Material, Top

_UPPER_ARM = ((0.0, 0.035), (0.35, 0.033), (1.0, 0.0255))
"""Fraction of the bone, radius there."""
_FOREARM = ((0.0, 0.0255), (0.25, 0.0275), (1.0, 0.0175))
_THIGH = ((0.0, 0.05), (0.25, 0.055), (1.0, 0.0405))
_SHIN = ((0.0, 0.0405), (0.28, 0.0425), (1.0, 0.025))
_TEE_SLEEVE, _SHORT_LEG = 0.62, 0.72
"""Where short sleeves and legs end, as a fraction of the upper arm and of the thigh."""
_ABOVE = 1e-3
"""Depth by which a cover lies above what it covers."""


def add_arm(figure: Figure, rig: Rig, look: Look, side: int) -> None:
    """Upper arm, forearm and hand; sleeve, arm band and watch."""
    girth = rig.body.girth
    shoulder, elbow, wrist, fingers = rig.shoulders[side], rig.elbows[side], rig.wrists[side], rig.fingers[side]
    is_covered = look.top in (Top.sleeves, Top.jacket)
    room = (look.loose * 0.6 + (0.003 if look.top is Top.jacket else 0.0)) * is_covered
    material = look.sleeve if is_covered else look.skin
    upper = figure.add(Part.upper_arm + side, _limb(shoulder, elbow, _UPPER_ARM, girth, room), material, bias=0.02)
    if look.top is Top.tee:
        rings = _limb(shoulder, elbow, _UPPER_ARM, girth, 0.003 + look.loose * 0.7, _TEE_SLEEVE)
        figure.add(Part.upper_arm + side, rings, look.sleeve, depth=upper.depth + _ABOVE)
    if side == 0 and look.armband is not None:
        rings = _band(shoulder, elbow, (0.5, 0.68), 0.037 * girth + max(room, look.loose * 0.7))
        figure.add(Part.upper_arm, rings, Material(look.armband), depth=upper.depth + 2 * _ABOVE)
    fore = figure.add(Part.forearm + side, _limb(elbow, wrist, _FOREARM, girth, room), material, bias=0.022)
    palm = wrist + (fingers - wrist) * 0.42
    hand = [ball(wrist, 0.0165 * girth), ball(palm, 0.021 * girth), ball(fingers, 0.011 * girth)]
    figure.add(Part.hand + side, hand, look.skin, depth=fore.depth + (-_ABOVE if is_covered else _ABOVE))
    if side == 0 and look.watch is not None:
        rings = _band(elbow, wrist, (0.86, 0.96), 0.0215 * girth + room)
        figure.add(Part.forearm, rings, Material(look.watch), depth=fore.depth + 2 * _ABOVE)


def add_leg(figure: Figure, rig: Rig, look: Look, side: int) -> None:
    """Thigh, shin and shoe; trouser leg and sock."""
    girth = rig.body.girth
    hip, knee, ankle = rig.hips[side], rig.knees[side], rig.ankles[side]
    is_covered = look.bottom is Bottom.trousers
    room = look.loose * is_covered
    material = look.lower if is_covered else look.skin
    thigh = figure.add(Part.thigh + side, _limb(hip, knee, _THIGH, girth, room), material)
    if look.bottom is Bottom.shorts:
        rings = _limb(hip, knee, _THIGH, girth, 0.004 + look.loose, _SHORT_LEG)
        figure.add(Part.thigh + side, rings, look.lower, depth=thigh.depth + _ABOVE)
    rings = _limb(knee, ankle, _SHIN, girth, room)
    if is_covered and look.loose > 0.004:
        rings[-1] = ball(ankle, 0.031 * girth + look.loose)
    shin = figure.add(Part.shin + side, rings, material, bias=0.002)
    if not is_covered and look.sock is not None:
        sock = [ball(knee + (ankle - knee) * f, r * girth + 0.002) for f, r in ((0.68, 0.034), (1.0, 0.026))]
        figure.add(Part.shin + side, sock, look.sock, depth=shin.depth + _ABOVE)
    _add_shoe(figure, rig, look, side, shin.depth)


def _add_shoe(figure: Figure, rig: Rig, look: Look, side: int, shin: float) -> None:
    girth, frame = rig.body.girth, rig.foot_frames[side]
    ankle, heel, toe = rig.ankles[side], rig.heels[side], rig.toes[side]
    ball_of_foot = heel + (toe - heel) * 0.7 + frame @ (0, 0.004, 0)
    upper = ball(ankle + frame @ (0, -0.008, -0.004), 0.026 * girth)
    back = ball(heel + frame @ (0, 0.006, 0.012), 0.027 * girth)
    middle, front = ball(ball_of_foot, 0.024 * girth), ball(toe + frame @ (0, 0.004, 0), 0.018 * girth)
    forward = float(ball_of_foot[2] - ankle[2])
    depth = shin + 0.5 * forward + (0.01 if forward > 0 else -0.005)
    figure.add(Part.foot + side, [[upper, back], [back, middle], [front]], look.shoe, depth=depth)


def _limb(
    start: np.ndarray,
    end: np.ndarray,
    profile: tuple[tuple[float, float], ...],
    girth: float,
    room: float,
    upto: float = 1.0,
) -> list[Ring]:
    """Balls along a bone up to a fraction of it; ``room`` is between limb and cloth."""
    at, radii = np.array(profile).T
    places = [*(place for place in at if place < upto), upto]
    rings = [ball(start + (end - start) * place, float(np.interp(place, at, radii)) * girth + room) for place in places]
    return rings if upto == 1 else [*rings[:-1], *flat(rings[-1:], end - start)]


def _band(start: np.ndarray, end: np.ndarray, span: tuple[float, float], radius: float) -> list[Ring]:
    return flat([ball(start + (end - start) * fraction, radius) for fraction in span], end - start)


def flat(rings: list[Ring], along: np.ndarray) -> list[Ring]:
    """The same balls as flat discs across ``along``: an end that is cut straight."""
    axis = along / np.linalg.norm(along)
    x, y, z = axis.tolist()
    u = np.array([y, -x, 0.0] if abs(z) < 0.9 else [0.0, z, -y])
    u /= np.linalg.norm(u)
    v = np.array([y * u[2] - z * u[1], z * u[0] - x * u[2], x * u[1] - y * u[0]])
    return [Ring(ring.centre, u * ring.u[0], v * ring.u[0]) for ring in rings]
