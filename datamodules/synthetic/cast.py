"""Who stands where: the people of a scene before they are painted, and the camera and light they share."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from datamodules.synthetic.anatomy import Body, sample_body
from datamodules.synthetic.canvas import SUPERSAMPLE
from datamodules.synthetic.chance import choose
from datamodules.synthetic.coat import Light
from datamodules.synthetic.poses import Pose, sample_pose
from datamodules.synthetic.rig import Rig, solve
from datamodules.synthetic.solids import Camera
from datamodules.synthetic.wardrobe import Look, sample_look


class Actor(NamedTuple):
    """A person before painting."""

    body: Body
    pose: Pose
    look: Look
    heading: float
    """Degrees: 0 faces the viewer, 90 the right of the picture."""
    height: float
    """An adult's standing height at this place, pixels of the picture."""
    x: float
    foot: float
    """Where the lowest point of the body lies, pixels of the picture."""
    is_labelled: bool = True
    is_blurred: bool = False


class Stage(NamedTuple):
    """What all people of a scene share."""

    light: Light
    elevation: float
    """Degrees by which the camera looks down."""
    roll: float
    """Degrees by which it is rotated."""
    distance: float
    """In standing heights."""


def sample_stage(rng: np.random.Generator) -> Stage:
    direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.9, -0.1), rng.uniform(0.55, 1.0)])
    direction /= np.linalg.norm(direction)
    x, y, z = (float(value) for value in direction)
    light = Light(x, y, z, ambient=float(rng.uniform(0.42, 0.68)))
    roll = float(np.clip(rng.normal(0, 3.5), -10, 10))
    return Stage(light, float(rng.uniform(-3, 15)), roll, float(rng.uniform(3.5, 9)))


def sample_cast(
    rng: np.random.Generator,
    size: int,
    horizon: float,
    max_people: int = 6,
    min_height: float = 0.0,
    facing: float = 180.0,
) -> list[Actor]:
    """People on the floor, from far to near: ``max_people`` at most, ``min_height`` of ``size`` tall at least.

    Below 180, ``facing`` is the most degrees they are turned away from the viewer.
    """
    eye_level = rng.uniform(0.62, 1.1)  # the camera's height in standing heights
    count = min(choose(rng, [0.04, 0.3, 0.26, 0.17, 0.11, 0.07, 0.05]), max_people)
    base = math.exp(rng.uniform(math.log(0.38), math.log(1.25))) * (1.0 if count < 3 else 0.78)
    together = rng.random() < 0.35
    cast: list[Actor] = []
    places: list[float] = []
    for _ in range(count):
        height = (
            float(np.clip(base * math.exp(rng.normal(0, 0.12 if together else 0.38)), max(min_height, 0.06), 1.7))
            * size
        )
        if not places:
            x = rng.uniform(0.12, 0.88)
        elif together:
            x = places[-1] + rng.uniform(-1, 1) * 0.5 * height / size
        else:
            x = _freest(rng.uniform(0.02, 0.98, 1 if rng.random() < 0.2 else 8), places)
        places.append(float(x))
        foot = horizon + height * eye_level * rng.uniform(0.92, 1.08)
        foot = min(foot, size * 0.98) if height < 0.6 * size and rng.random() < 0.8 else foot
        actor = sample_actor(rng, height, x * size, foot, facing)
        cast.append(actor._replace(height=max(height, min_height * size / actor.body.stature)))
    if count and min_height == 0 and rng.random() < 0.1:
        height = rng.uniform(0.06, 0.16) * size
        x = rng.uniform(0, 1) * size
        blurred = sample_actor(rng, height, x, horizon + height * eye_level)
        cast.append(blurred._replace(is_labelled=False, is_blurred=True))
    return sorted(cast, key=lambda actor: actor.height)


def _freest(options: np.ndarray, places: list[float]) -> float:
    distances = np.abs(options[:, None] - np.array(places)[None]).min(axis=1)
    return float(options[int(distances.argmax())])


def sample_actor(rng: np.random.Generator, height: float, x: float, foot: float, facing: float = 180.0) -> Actor:
    body = sample_body(rng)
    kind = choose(rng, [0.5, 0.11, 0.11, 0.13, 0.15])  # front, profiles, back, any
    heading = [rng.normal(0, 32), rng.normal(-80, 18), rng.normal(80, 18), rng.normal(180, 32), rng.uniform(-180, 180)]
    turned = heading[kind] if facing >= 180 else np.clip(heading[0], -facing, facing)
    look = sample_look(rng, childhood=body.stature < 0.85)
    return Actor(body, sample_pose(rng), look, float(turned), height, float(x), float(foot))


def enter(actor: Actor, stage: Stage, size: int) -> tuple[Rig, Camera]:
    """Pose an actor and aim the camera so that they stand where they should."""
    rig = solve(actor.body, actor.pose, actor.heading, stage.elevation)
    cos, sin = math.cos(math.radians(stage.roll)), math.sin(math.radians(stage.roll))
    scale = actor.height * actor.body.stature * SUPERSAMPLE
    points = np.concatenate(
        [rig.toes, rig.heels, rig.fingers, rig.knees, rig.hips, rig.elbows, rig.on_head(0, 0.5, 0)[None]]
    )
    lowest = float(points[:, 1].min()) - 0.03
    centre = size * SUPERSAMPLE / 2
    x = actor.x * SUPERSAMPLE - centre - scale * float(points[:, 0].mean())
    y = actor.foot * SUPERSAMPLE - centre + scale * lowest
    return rig, Camera(scale, centre + cos * x - sin * y, centre + sin * x + cos * y, stage.distance, cos, sin)
