"""COCO's keypoints of a rig, and which of them are to be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.skeleton import COCO
from datamodules.synthetic.canvas import SUPERSAMPLE
from datamodules.synthetic.face import EYE
from datamodules.synthetic.head import EAR, NOSE
from datamodules.synthetic.rig import SIDES, Rig
from datamodules.synthetic.solids import Part

_HEAD = {Part.head}
_TRUNK = {Part.torso, Part.pelvis, Part.skirt}


def joints_of(rig: Rig) -> np.ndarray:
    """f64 [17, 3], camera space, in the order of ``COCO.joints``."""
    pairs: dict[str, Sequence[np.ndarray] | np.ndarray] = {
        "shoulder": rig.shoulders,
        "elbow": rig.elbows,
        "wrist": rig.wrists,
        "hip": rig.hips,
        "knee": rig.knees,
        "ankle": rig.ankles,
        "eye": [rig.on_head(sign * EYE[0], EYE[1], EYE[2]) for sign in SIDES],
        "ear": [rig.on_head(sign * EAR[0], EAR[1], EAR[2]) for sign in SIDES],
    }
    points = {"nose": rig.on_head(*NOSE)}
    for name, pair in pairs.items():
        points[f"left_{name}"], points[f"right_{name}"] = pair[0], pair[1]
    return np.stack([points[name] for name in COCO.joints])


def visibility_of(rig: Rig, points: np.ndarray, owner: np.ndarray, number: int, mask: np.ndarray) -> np.ndarray:
    """Whether each joint is outside, hidden or visible.

    A joint is visible where the topmost pixel is a part of the same person that carries the joint, and the side of
    the body it lies on is turned to the viewer. It is hidden where the person's mask is more than a pixel away.

    Args:
        points: f64 [17, 2], pixels of the picture.
        owner: u16, the canvas's owners, ``SUPERSAMPLE`` times the picture's size.
        number: of the person.
        mask: bool, at the picture's size, the person's visible pixels.

    Returns:
        u8 [17]: 0 outside the picture, 1 hidden, 2 visible.
    """
    side = owner.shape[0]
    inside = ((points >= 0.5) & (points <= side / SUPERSAMPLE - 0.5)).all(axis=1)
    visibility = np.zeros(len(points), np.uint8)
    carriers, turned = _carriers(), _turned(rig)
    for joint in np.flatnonzero(inside):
        x, y = np.floor(points[joint] * SUPERSAMPLE).astype(int)
        person, part = divmod(int(owner[y, x]), 64)
        name = COCO.joints[joint]
        column, row = points[joint].astype(int)
        is_shown = mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].any()
        on_top = person == number and part in carriers[name]
        visibility[joint] = 2 if on_top and is_shown and turned.get(name, True) else 1
    return visibility


def _carriers() -> dict[str, set[int]]:
    """Parts that may lie on top of a visible joint."""
    carriers: dict[str, set[int]] = {"nose": set(_HEAD)}
    for index, side in enumerate(("left", "right")):
        carriers[f"{side}_eye"] = carriers[f"{side}_ear"] = set(_HEAD)
        carriers[f"{side}_shoulder"] = {Part.torso, Part.upper_arm + index}
        carriers[f"{side}_elbow"] = {Part.upper_arm + index, Part.forearm + index}
        carriers[f"{side}_wrist"] = {Part.forearm + index, Part.hand + index}
        carriers[f"{side}_hip"] = {*_TRUNK, Part.thigh + index}
        carriers[f"{side}_knee"] = {Part.thigh + index, Part.shin + index, Part.skirt}
        carriers[f"{side}_ankle"] = {Part.shin + index, Part.foot + index}
    return carriers


def _turned(rig: Rig) -> dict[str, bool]:
    """Whether the surface at a joint of head or trunk faces the viewer; far shoulders and hips of a profile do not."""
    head, chest, pelvis = (frame[2] for frame in (rig.head_frame, rig.chest_frame, rig.pelvis_frame))
    turned = {"nose": bool(head[2] > -0.15)}
    for sign, side in zip(SIDES, ("left", "right"), strict=True):
        turned[f"{side}_eye"] = bool(sign * 0.36 * head[0] + 0.93 * head[2] > 0.08)
        turned[f"{side}_ear"] = bool(sign * head[0] > -0.3)
        turned[f"{side}_shoulder"] = bool(sign * chest[0] > -0.8)
        turned[f"{side}_hip"] = bool(sign * pelvis[0] > -0.8)
    return turned
