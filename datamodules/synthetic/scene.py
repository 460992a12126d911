"""Scenes: people in a place, painted from far to near, with exact labels."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from datamodules.skeleton import COCO
from datamodules.synthetic.backdrop import paint_place, sample_place
from datamodules.synthetic.canvas import SUPERSAMPLE, Canvas
from datamodules.synthetic.cast import Actor, Stage, enter, sample_cast, sample_stage
from datamodules.synthetic.crowd import CROWD, paint_crowd
from datamodules.synthetic.figure import dress
from datamodules.synthetic.palette import sample_vivid
from datamodules.synthetic.props import add_distractors, add_obstacle
from datamodules.synthetic.rig import Rig
from datamodules.synthetic.solids import Camera
from datamodules.synthetic.visibility import joints_of, visibility_of
from datamodules.synthetic.wardrobe import Material

_SMALLEST_LABELLED = 0.1
"""People less tall than this fraction of the picture are not labelled."""
_LEAST_VISIBLE = 0.15
"""People are not labelled if less than this fraction of what the picture holds of them is free of others."""
_FEWEST_PIXELS = 8
"""People of whom less is to be seen are no annotation at all."""


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


def render_scene(
    rng: np.random.Generator, size: int, *, max_people: int = 6, min_height: float = 0.0, facing: float = 180.0
) -> Scene:
    """Render a random scene of ``size`` x ``size`` pixels; the same state of ``rng`` gives the same scene.

    Args:
        max_people: people placed on the floor, at most.
        min_height: least standing height of a person, as a fraction of ``size``; above 0 nobody stands far off, neither
            crowds nor blurred passers-by.
        facing: most degrees a person is turned away from the viewer.
    """
    stage = sample_stage(rng)
    horizon = float(rng.uniform(0.3, 0.55)) * size
    place = sample_place(rng)
    canvas = Canvas(_rolled(paint_place(rng, place, size, horizon), stage.roll), stage.light)
    add_distractors(rng, canvas, horizon * SUPERSAMPLE)
    if place.is_open and min_height == 0 and rng.random() < 0.13:
        paint_crowd(rng, canvas, stage, horizon)
    people = play(canvas, stage, sample_cast(rng, size, horizon, max_people, min_height, facing), rng)
    return Scene(_developed(rng, canvas.picture()), people)


class _Played(NamedTuple):
    number: int
    actor: Actor
    rig: Rig
    camera: Camera
    painted: int
    """Pixels of the canvas they covered before others came before them."""


def play(canvas: Canvas, stage: Stage, actors: list[Actor], rng: np.random.Generator) -> list[Person]:
    """Paint the actors in this order and label them.

    Returns:
        the people of whom enough is to be seen, in this order, then the crowd, if any, as one.
    """
    size = canvas.owner.shape[0] // SUPERSAMPLE
    played = []
    for number, actor in enumerate(actors, start=1):
        rig, camera = enter(actor, stage, size)
        _drop_shadow(canvas, rig, camera)
        seat = Material(sample_vivid(rng, dark=True)) if actor.pose.seated else None
        dress(rig, actor.look, camera, number, seat).paint(canvas)
        played.append(_Played(number, actor, rig, camera, int(np.count_nonzero(canvas.owner >> 6 == number))))
        if actor.is_blurred:
            _defocus(canvas, number, camera)
        if rng.random() < 0.1:
            x, foot = camera.project(np.array([rng.normal(0, 0.25), 0.0, 0.0]))
            below = SUPERSAMPLE * actor.foot + 0.04 * camera.scale
            add_obstacle(rng, canvas, np.array([x, max(foot, below)]), camera.scale)
    return _labelled(canvas, played)


def _labelled(canvas: Canvas, played: list[_Played]) -> list[Person]:
    people = []
    size = canvas.owner.shape[0] // SUPERSAMPLE
    who, free = canvas.owner >> 6, np.ones((size, size), bool)
    for number, actor, rig, camera, painted in reversed(played):
        mine = who == number
        mask = _halved(mine, free)
        if np.count_nonzero(mask) >= _FEWEST_PIXELS:
            tall = actor.height * actor.body.stature >= _SMALLEST_LABELLED * size
            recognisable = bool(np.count_nonzero(mine) >= _LEAST_VISIBLE * painted)
            is_labelled = actor.is_labelled and tall and recognisable
            people.append(_label(canvas, rig, camera, number, mask, is_labelled))
    people.reverse()
    crowd = _halved(who == CROWD, free)
    if crowd.any():
        people.append(Person(np.zeros((17, 2)), np.zeros(17, np.uint8), crowd, is_crowd=True))
    return people


def _halved(mine: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Pixels of the picture of which at least half is ``mine`` and which are ``free``; takes them out of ``free``."""
    mask = (cv2.resize(mine.view(np.uint8) * 128, free.shape[::-1], interpolation=cv2.INTER_AREA) >= 64) & free
    free &= ~mask
    return mask


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
        visibility = visibility_of(rig, points, canvas.owner, number, mask)
        if np.count_nonzero(visibility == 2) < 3:
            visibility[:] = 0
    points[visibility == 0] = 0.0
    return Person(points, visibility, mask)


def _rolled(image: np.ndarray, roll: float) -> np.ndarray:
    """The backdrop at the canvas's size, turned about its centre."""
    size = image.shape[0]
    turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), -roll, 1.0)
    image = cv2.warpAffine(image, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return cv2.resize(image, None, fx=SUPERSAMPLE, fy=SUPERSAMPLE, interpolation=cv2.INTER_LINEAR)


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
