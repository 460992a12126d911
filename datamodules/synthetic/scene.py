"""Scenes: people in a place, painted from far to near, with exact labels."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from datamodules.skeleton import COCO
from datamodules.synthetic.anatomy import Body, sample_body
from datamodules.synthetic.backdrop import add_distractors, add_obstacle, sample_backdrop
from datamodules.synthetic.canvas import SUPERSAMPLE, Canvas, Light
from datamodules.synthetic.figure import dress
from datamodules.synthetic.poses import Pose, sample_pose
from datamodules.synthetic.rig import Rig, solve
from datamodules.synthetic.solids import Camera
from datamodules.synthetic.visibility import joints_of, visibility_of
from datamodules.synthetic.wardrobe import Look, Material, sample_look, sample_vivid

_SMALLEST_LABELLED = 0.1
"""People less tall than this fraction of the picture are not labelled."""


class Person(NamedTuple):
    """One annotated person, or one crowd."""

    keypoints: np.ndarray
    """f64 [17, 2], continuous pixels of the picture; zero where ``visibility`` is 0."""
    visibility: np.ndarray
    """u8 [17]: 0 outside the picture or not labelled, 1 hidden, 2 visible."""
    mask: np.ndarray
    """bool [size, size], visible pixels."""
    is_crowd: bool = False


class Scene(NamedTuple):
    image: np.ndarray
    """u8 [size, size, 3], RGB."""
    people: list[Person]


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
    is_crowd: bool = False
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


def render_scene(rng: np.random.Generator, size: int) -> Scene:
    """Render a random scene of ``size`` x ``size`` pixels; the same state of ``rng`` gives the same scene."""
    stage = sample_stage(rng)
    horizon = float(rng.uniform(0.3, 0.55)) * size
    canvas = Canvas(_rolled(sample_backdrop(rng, size, horizon), stage.roll), stage.light)
    add_distractors(rng, canvas)
    actors = sample_cast(rng, size, horizon)
    people = play(canvas, stage, actors, rng)
    return Scene(_developed(rng, canvas.picture()), people)


def sample_stage(rng: np.random.Generator) -> Stage:
    direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.9, -0.1), rng.uniform(0.55, 1.0)])
    direction /= np.linalg.norm(direction)
    x, y, z = (float(value) for value in direction)
    light = Light(x, y, z, ambient=float(rng.uniform(0.42, 0.68)))
    roll = float(np.clip(rng.normal(0, 3.5), -10, 10))
    return Stage(light, float(rng.uniform(-3, 15)), roll, float(rng.uniform(3.5, 9)))


def sample_cast(rng: np.random.Generator, size: int, horizon: float) -> list[Actor]:
    """People on the floor, from far to near; some scenes with a crowd behind them."""
    eye_level = rng.uniform(0.62, 1.1)  # the camera's height in standing heights
    count = int(rng.choice(7, p=[0.04, 0.3, 0.26, 0.17, 0.11, 0.07, 0.05]))
    base = math.exp(rng.uniform(math.log(0.34), math.log(1.15))) * (1.0 if count < 3 else 0.75)
    together = rng.random() < 0.35
    cast, places = [], [rng.uniform(0.15, 0.85)]
    for _ in range(count):
        height = float(np.clip(base * math.exp(rng.normal(0, 0.12 if together else 0.38)), 0.06, 1.7)) * size
        options = rng.uniform(0.02, 0.98, 1 if rng.random() < 0.2 else 8)
        near = places[-1] + rng.uniform(-1, 1) * 0.5 * height / size
        x = float(near) if together else _freest(options, places)
        places.append(x)
        foot = horizon + height * eye_level * rng.uniform(0.92, 1.08)
        foot = min(foot, size * 0.98) if height < 0.6 * size and rng.random() < 0.8 else foot
        cast.append(_sample_actor(rng, height, x * size, foot))
    if count and rng.random() < 0.1:
        height = rng.uniform(0.06, 0.16) * size
        x = rng.uniform(0, 1) * size
        blurred = _sample_actor(rng, height, x, horizon + height * eye_level)
        cast.append(blurred._replace(is_labelled=False, is_blurred=True))
    if rng.random() < 0.09:
        cast += _sample_crowd(rng, size, horizon)
    return sorted(cast, key=lambda actor: actor.height)


def _freest(options: np.ndarray, places: list[float]) -> float:
    distances = np.abs(options[:, None] - np.array(places)[None]).min(axis=1)
    return float(options[int(distances.argmax())])


def _sample_actor(rng: np.random.Generator, height: float, x: float, foot: float) -> Actor:
    body = sample_body(rng)
    kind = rng.choice(4, p=[0.5, 0.22, 0.13, 0.15])
    heading = [rng.normal(0, 32), rng.choice([-1, 1]) * rng.normal(80, 18), rng.normal(180, 32), rng.uniform(-180, 180)]
    look = sample_look(rng, childhood=body.stature < 0.85)
    return Actor(body, sample_pose(rng), look, float(heading[int(kind)]), height, float(x), float(foot))


def _sample_crowd(rng: np.random.Generator, size: int, horizon: float) -> list[Actor]:
    """Rows of small people, closely packed."""
    height = rng.uniform(0.07, 0.12) * size
    left, width = rng.uniform(-0.1, 0.5) * size, rng.uniform(0.3, 0.7) * size
    crowd = []
    for row in range(int(rng.integers(1, 4))):
        for x in np.arange(left, left + width, height * 0.42):
            at = x + rng.normal(0, 0.08) * height
            foot = horizon + height * (0.4 + 0.3 * row) + rng.normal(0, 0.04) * height
            tall = height * (1 + 0.06 * row)
            crowd.append(_sample_actor(rng, tall, at, foot)._replace(is_labelled=False, is_crowd=True))
    return crowd


def play(canvas: Canvas, stage: Stage, actors: list[Actor], rng: np.random.Generator) -> list[Person]:
    """Paint the actors in this order and label them.

    Returns:
        the people of whom a pixel is to be seen, then the crowd, if any, as one.
    """
    size = canvas.owner.shape[0] // SUPERSAMPLE
    played = []
    for number, actor in enumerate(actors, start=1):
        rig, camera = _enter(actor, stage, size)
        _drop_shadow(canvas, rig, camera)
        seat = Material(sample_vivid(rng, dark=True)) if actor.pose.seated else None
        dress(rig, actor.look, camera, number, seat).paint(canvas)
        painted = int(np.count_nonzero(canvas.owner[1::2, 1::2] >> 6 == number))
        if actor.is_blurred:
            _defocus(canvas, number, camera)
        if not actor.is_crowd and rng.random() < 0.1:
            x, foot = camera.project(np.array([rng.normal(0, 0.25), 0.0, 0.0]))
            below = SUPERSAMPLE * actor.foot + 0.04 * camera.scale
            add_obstacle(rng, canvas, float(x), float(max(foot, below)), camera.scale)
        played.append((number, actor, rig, camera, painted))
    owner = canvas.owner[1::2, 1::2] >> 6
    people, crowd = [], np.zeros(owner.shape, bool)
    for number, actor, rig, camera, painted in played:
        mask = owner == number
        seen = int(np.count_nonzero(mask))
        if actor.is_crowd:
            crowd |= mask
        elif seen >= 8:
            labelled = actor.is_labelled and actor.height * actor.body.stature >= _SMALLEST_LABELLED * size
            people.append(_label(canvas, rig, camera, number, mask, labelled and seen >= 0.15 * painted))
    if crowd.any():
        people.append(Person(np.zeros((17, 2)), np.zeros(17, np.uint8), crowd, is_crowd=True))
    return people


def _enter(actor: Actor, stage: Stage, size: int) -> tuple[Rig, Camera]:
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


def _drop_shadow(canvas: Canvas, rig: Rig, camera: Camera) -> None:
    """A soft dark ellipse on the floor."""
    feet = np.concatenate([rig.toes, rig.heels, rig.pelvis[None]])
    low = float(feet[:, 1].min()) - 0.02
    half = float(np.ptp(feet[:, 0])) / 2 + 0.09
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    middle = float(feet[:, 0].max() + feet[:, 0].min()) / 2
    for grow, dark in ((1.25, 0.9), (1.0, 0.82), (0.7, 0.82)):
        rim = np.stack([middle + np.cos(turn) * half * grow, low + np.sin(turn) * 0.045 * grow, turn * 0], axis=-1)
        canvas.darken(camera.project(rim), dark)


def _defocus(canvas: Canvas, number: int, camera: Camera) -> None:
    ys, xs = np.nonzero(canvas.owner >> 6 == number)
    if not len(ys):
        return
    margin = round(camera.scale * 0.1)
    rows = slice(max(int(ys.min()) - margin, 0), int(ys.max()) + margin)
    columns = slice(max(int(xs.min()) - margin, 0), int(xs.max()) + margin)
    canvas.image[rows, columns] = cv2.GaussianBlur(canvas.image[rows, columns], (0, 0), max(camera.scale * 0.04, 1.0))


def _label(canvas: Canvas, rig: Rig, camera: Camera, number: int, mask: np.ndarray, is_labelled: bool) -> Person:
    visibility = np.zeros(COCO.num_keypoints, np.uint8)
    points = camera.project(joints_of(rig)) / SUPERSAMPLE
    if is_labelled:
        visibility = visibility_of(rig, points, canvas.owner, number)
        if np.count_nonzero(visibility == 2) < 3:
            visibility[:] = 0
    points[visibility == 0] = 0.0
    return Person(points, visibility, mask)


def _rolled(image: np.ndarray, roll: float) -> np.ndarray:
    """The backdrop at the canvas's size, turned about its centre."""
    size = image.shape[0]
    turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), -roll, SUPERSAMPLE)
    turn[:, 2] += (SUPERSAMPLE - 1) * size / 2
    side = size * SUPERSAMPLE
    return cv2.warpAffine(image, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _developed(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Exposure, colour temperature, a little blur, sensor noise, sometimes a poor JPEG."""
    warmth = rng.normal(0, 0.05)
    gain = rng.uniform(0.78, 1.15) * np.array([1 + warmth, 1.0, 1 - warmth])
    levels = np.arange(256)[:, None] * gain + rng.uniform(-6, 12)
    image = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)[:, None])
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2) * image.shape[0] / 256)
    noise = rng.uniform(0, 7)
    grain = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape)
    image = cv2.addWeighted(image, 1.0, grain, noise / 74, -noise / 74 * 127.5)
    if rng.random() < 0.2:
        quality = int(rng.integers(35, 80))
        _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
    return image
