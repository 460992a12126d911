"""Poses: joint angles of everyday attitudes, each drawn from its own ranges. All angles are degrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from datamodules.synthetic.chance import choose


@dataclass
class Arm:
    flexion: float = 5.0
    """Forward from hanging."""
    abduction: float = 10.0
    """Away from the body."""
    twist: float = 0.0
    """Inward turn about the upper arm."""
    elbow: float = 15.0


@dataclass
class Leg:
    flexion: float = 0.0
    abduction: float = 3.0
    twist: float = -5.0
    knee: float = 3.0


@dataclass
class Pose:
    """Index 0 is the left limb, 1 the right one."""

    arms: tuple[Arm, Arm] = field(default_factory=lambda: (Arm(), Arm()))
    legs: tuple[Leg, Leg] = field(default_factory=lambda: (Leg(), Leg()))
    bend: float = 0.0
    """Forward bend of the trunk."""
    lean: float = 0.0
    """Sideways, to the person's left."""
    turn: float = 0.0
    """Shoulders against hips, to the left."""
    nod: float = 0.0
    """Head down."""
    look: float = 0.0
    """Head turned to the left."""
    tilt: float = 0.0
    pitch: float = 0.0
    """Of the whole body, forward: -90 lies on the back, 90 on the belly."""
    roll: float = 0.0
    seated: bool = False
    lying: bool = False


def sample_pose(rng: np.random.Generator) -> Pose:
    """One of the attitudes below, with the head turned freely."""
    attitudes = list(_ATTITUDES.values())
    pose = attitudes[choose(rng, [weight for weight, _ in attitudes])][1](rng)
    pose.nod += float(rng.normal(0, 7))
    pose.look += float(np.clip(rng.normal(0, 18), -55, 55))
    pose.tilt += float(rng.normal(0, 5))
    return pose


def _hang(rng: np.random.Generator) -> Arm:
    return Arm(rng.normal(3, 7), rng.uniform(5, 16), rng.uniform(0, 35), rng.uniform(6, 30))


def _on_hip(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(-28, -14), rng.uniform(38, 50), rng.uniform(58, 75), rng.uniform(88, 105))


def _raised(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(0, 25), rng.uniform(125, 172), rng.uniform(-20, 20), rng.uniform(2, 45))


def _waving(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(0, 20), rng.uniform(65, 105), rng.uniform(-110, -75), rng.uniform(60, 115))


def _sideways(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(-8, 25), rng.uniform(60, 98), rng.uniform(-30, 30), rng.uniform(0, 35))


def _reaching(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(50, 110), rng.uniform(0, 25), rng.uniform(-10, 25), rng.uniform(3, 45))


def _holding(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(15, 45), rng.uniform(4, 14), rng.uniform(5, 40), rng.uniform(85, 135))


def _folded(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(20, 34), rng.uniform(6, 14), rng.uniform(58, 74), rng.uniform(88, 104))


def _behind(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(-32, -18), rng.uniform(8, 20), rng.uniform(40, 70), rng.uniform(35, 70))


_GESTURES: tuple[tuple[float, Callable[[np.random.Generator], Arm]], ...] = (
    (6.0, _hang),
    (1.6, _on_hip),
    (1.0, _raised),
    (1.1, _waving),
    (0.8, _sideways),
    (1.1, _reaching),
    (1.8, _holding),
    (0.5, _behind),
)


def _gesture(rng: np.random.Generator) -> Arm:
    return _GESTURES[choose(rng, [weight for weight, _ in _GESTURES])][1](rng)


def _arms(rng: np.random.Generator) -> tuple[Arm, Arm]:
    if rng.random() < 0.07:
        return _folded(rng), _folded(rng)
    if rng.random() < 0.4:
        alike = int(rng.integers(1 << 30))  # the same gesture on both sides
        return _gesture(np.random.default_rng(alike)), _gesture(np.random.default_rng(alike))
    return _gesture(rng), _gesture(rng)


def _standing(rng: np.random.Generator) -> Pose:
    relaxed = rng.uniform(0, 14)
    stance = rng.uniform(0, 9)
    legs = [
        Leg(rng.normal(0, 3), stance, rng.uniform(-25, -2), rng.uniform(0, 5)),
        Leg(relaxed * 0.9, stance, rng.uniform(-25, -2), relaxed * 1.6),
    ]
    if rng.random() < 0.5:
        legs.reverse()
    return Pose(_arms(rng), (legs[0], legs[1]), rng.normal(0, 3), rng.normal(0, 3), rng.normal(0, 7))


def _walking(rng: np.random.Generator) -> Pose:
    return _striding(rng, stride=rng.uniform(14, 30), knee=rng.uniform(15, 45), elbow=rng.uniform(10, 40), bend=4)


def _running(rng: np.random.Generator) -> Pose:
    return _striding(rng, stride=rng.uniform(32, 58), knee=rng.uniform(60, 110), elbow=rng.uniform(75, 105), bend=12)


def _striding(rng: np.random.Generator, stride: float, knee: float, elbow: float, bend: float) -> Pose:
    front = Leg(stride, rng.uniform(0, 4), 0.0, knee * rng.uniform(0.1, 0.6))
    back = Leg(-stride * 0.7, rng.uniform(0, 4), 0.0, knee * rng.uniform(0.5, 1.0))
    swing = stride * rng.uniform(0.7, 1.1)
    same = Arm(-swing, rng.uniform(6, 14), rng.uniform(5, 25), elbow * rng.uniform(0.7, 1.0))
    opposite = Arm(swing, rng.uniform(6, 14), rng.uniform(5, 25), elbow)
    if rng.random() < 0.5:
        pose = Pose((same, opposite), (front, back), turn=-stride * 0.2)
    else:
        pose = Pose((opposite, same), (back, front), turn=stride * 0.2)
    pose.bend = bend + rng.normal(0, 3)
    return pose


def _sitting(rng: np.random.Generator) -> Pose:
    spread = rng.uniform(2, 16)
    legs = tuple(Leg(rng.uniform(78, 92), spread, rng.uniform(-12, 4), rng.uniform(65, 100)) for _ in range(2))
    on_knees = rng.random() < 0.5
    lap = (_lap(rng), _lap(rng)) if on_knees else _arms(rng)
    return Pose(lap, (legs[0], legs[1]), rng.uniform(-8, 18), rng.normal(0, 3), rng.normal(0, 6), seated=True)


def _lap(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(22, 42), rng.uniform(6, 16), rng.uniform(0, 25), rng.uniform(35, 70))


def _cheering(rng: np.random.Generator) -> Pose:
    pose = _standing(rng)
    pose.arms = (_raised(rng), _raised(rng))
    pose.nod = -8
    return pose


def _hanging(rng: np.random.Generator) -> Arm:
    return Arm(rng.uniform(40, 95), rng.uniform(0, 15), rng.uniform(0, 20), rng.uniform(5, 50))


def _bending(rng: np.random.Generator) -> Pose:
    pose = _standing(rng)
    pose.bend = rng.uniform(35, 85)
    pose.nod = -pose.bend * rng.uniform(0.1, 0.5)
    pose.arms = (_hanging(rng), _hanging(rng))
    hips = pose.bend * 0.5
    for leg in pose.legs:
        leg.flexion += hips * 0.3
        leg.knee += hips * 0.6
    return pose


def _squatting(rng: np.random.Generator) -> Pose:
    depth = rng.uniform(60, 115)
    legs = tuple(Leg(depth, rng.uniform(8, 22), rng.uniform(-20, -5), depth * rng.uniform(1.0, 1.15)) for _ in range(2))
    pose = Pose(_arms(rng), (legs[0], legs[1]), rng.uniform(15, 45))
    pose.nod = -pose.bend * 0.5
    return pose


def _jumping(rng: np.random.Generator) -> Pose:
    arms = (_raised(rng), _raised(rng)) if rng.random() < 0.6 else (_sideways(rng), _sideways(rng))
    legs = tuple(Leg(rng.uniform(-20, 60), rng.uniform(4, 32), -8.0, rng.uniform(5, 100)) for _ in range(2))
    return Pose(arms, (legs[0], legs[1]), rng.normal(0, 8), rng.normal(0, 5), rng.normal(0, 8))


def _kicking(rng: np.random.Generator) -> Pose:
    kick = Leg(rng.uniform(45, 95), rng.uniform(0, 20), 0.0, rng.uniform(0, 35))
    hold = Leg(rng.uniform(-6, 4), 3.0, -8.0, rng.uniform(2, 18))
    legs = (kick, hold) if rng.random() < 0.5 else (hold, kick)
    return Pose((_sideways(rng), _sideways(rng)), legs, rng.uniform(-14, 5), rng.normal(0, 6), rng.normal(0, 10))


def _lying(rng: np.random.Generator) -> Pose:
    pose = _standing(rng)
    for leg in pose.legs:
        leg.flexion, leg.knee = rng.uniform(0, 35), rng.uniform(0, 60)
    pose.pitch = (-90.0 if rng.random() < 0.75 else 90.0) + rng.normal(0, 4)
    pose.roll = float(rng.uniform(-25, 25))
    pose.lying = True
    return pose


_ATTITUDES: dict[str, tuple[float, Callable[[np.random.Generator], Pose]]] = {
    "standing": (34.0, _standing),
    "walking": (18.0, _walking),
    "running": (9.0, _running),
    "sitting": (14.0, _sitting),
    "cheering": (5.0, _cheering),
    "bending": (4.0, _bending),
    "squatting": (4.0, _squatting),
    "jumping": (4.0, _jumping),
    "kicking": (4.0, _kicking),
    "lying": (3.0, _lying),
}
