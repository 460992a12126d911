"""Forward kinematics: a body in a pose, seen from somewhere, becomes points and frames in camera space.

Camera space is right-handed: x to the right of the picture, y up, z towards the viewer; unit is the standing height.
A person's own frame: x to their left, y up, z forward. A heading of 0 degrees faces the viewer, 90 the right of the
picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from datamodules.synthetic.anatomy import Body
from datamodules.synthetic.poses import Pose

SIDES = (1.0, -1.0)
"""Sign of the person's x axis for index 0 (left) and 1 (right)."""


@dataclass(frozen=True)
class Rig:
    """Points are f64 [3], frames f64 [3, 3] with the part's own axes as columns; pairs are [left, right]."""

    body: Body
    pelvis: np.ndarray
    chest: np.ndarray
    """Middle of the shoulder line."""
    chin: np.ndarray
    """Origin of the head frame: height of the chin, on the axis of the skull."""
    pelvis_frame: np.ndarray
    waist_frame: np.ndarray
    chest_frame: np.ndarray
    head_frame: np.ndarray
    shoulders: np.ndarray
    elbows: np.ndarray
    wrists: np.ndarray
    fingers: np.ndarray
    hips: np.ndarray
    knees: np.ndarray
    ankles: np.ndarray
    heels: np.ndarray
    toes: np.ndarray
    foot_frames: np.ndarray

    def on_head(self, x: float, y: float, z: float) -> np.ndarray:
        """A point of the head frame, in head heights above the chin, in camera space."""
        return self.chin + self.head_frame @ np.array([x, y, z]) * self.body.head


def solve(body: Body, pose: Pose, heading: float, elevation: float) -> Rig:
    """Pose a body; the pelvis lies at the origin.

    Args:
        heading: degrees, see above.
        elevation: degrees by which the camera looks down.
    """
    view = _x(elevation) @ _y(heading)
    pelvis_frame = view @ _x(pose.pitch) @ _y(pose.roll)
    spine = _z(pose.lean * 0.5) @ _x(pose.bend * 0.5) @ _y(pose.turn * 0.5)
    waist_frame = pelvis_frame @ spine
    chest_frame = waist_frame @ spine
    head_frame = chest_frame @ _y(pose.look) @ _x(pose.nod - 0.5 * pose.bend * 0.3) @ _z(pose.tilt)
    pelvis = np.zeros(3)
    chest = waist_frame @ (0, 0.45 * body.torso, 0) + chest_frame @ (0, 0.55 * body.torso, 0)
    chin = chest + chest_frame @ (0, body.neck * 0.6, 0.012) + head_frame @ (0, body.neck * 0.4, 0.012)
    arms = [_arm(body, pose, side, chest, chest_frame) for side in (0, 1)]
    legs = [_leg(body, pose, side, pelvis, pelvis_frame) for side in (0, 1)]
    shoulders, elbows, wrists, fingers = (np.stack(points) for points in zip(*arms, strict=True))
    hips, knees, ankles, heels, toes, feet = (np.stack(points) for points in zip(*legs, strict=True))
    return Rig(
        body,
        pelvis,
        chest,
        chin,
        pelvis_frame,
        waist_frame,
        chest_frame,
        head_frame,
        shoulders,
        elbows,
        wrists,
        fingers,
        hips,
        knees,
        ankles,
        heels,
        toes,
        feet,
    )


def _arm(body: Body, pose: Pose, side: int, chest: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, ...]:
    sign, arm = SIDES[side], pose.arms[side]
    lift = 0.035 * max(0.0, min(arm.abduction - 80, 80)) / 80  # a raised arm lifts its shoulder
    shoulder = chest + frame @ (sign * (body.shoulder - lift * 0.6), lift - 0.008, 0)
    upper = frame @ _x(-arm.flexion) @ _z(sign * arm.abduction) @ _y(-sign * arm.twist)
    elbow = shoulder + upper @ (0, -body.upper_arm, 0)
    fore = upper @ _x(-arm.elbow)
    wrist = elbow + fore @ (0, -body.forearm, 0)
    return shoulder, elbow, wrist, wrist + fore @ _x(-8) @ (0, -body.hand, 0)


def _leg(body: Body, pose: Pose, side: int, pelvis: np.ndarray, frame: np.ndarray) -> tuple[np.ndarray, ...]:
    sign, leg = SIDES[side], pose.legs[side]
    hip = pelvis + frame @ (sign * body.hip, 0, 0)
    upper = frame @ _x(-leg.flexion) @ _z(sign * leg.abduction) @ _y(-sign * leg.twist)
    knee = hip + upper @ (0, -body.thigh, 0)
    lower = upper @ _x(leg.knee)
    ankle = knee + lower @ (0, -body.shin, 0)
    rest = -(leg.knee - leg.flexion) * 0.55 if not pose.lying else 35.0  # a free foot hangs, a loaded one lies flat
    foot = lower @ _x(float(np.clip(rest, -30, 40)))
    heel = ankle + foot @ (0, -0.026, -0.022)
    toe = ankle + foot @ (0, -0.03, body.foot - 0.045)
    return hip, knee, ankle, heel, toe, foot


def _x(degrees: float) -> np.ndarray:
    c, s = _cos_sin(degrees)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _y(degrees: float) -> np.ndarray:
    c, s = _cos_sin(degrees)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _z(degrees: float) -> np.ndarray:
    c, s = _cos_sin(degrees)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _cos_sin(degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return math.cos(angle), math.sin(angle)
