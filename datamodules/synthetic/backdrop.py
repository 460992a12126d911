"""Places: what stands behind and before the people, and things that only look like limbs."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from datamodules.synthetic.canvas import Canvas
from datamodules.synthetic.wardrobe import (
    Color,
    Material,
    Pattern,
    sample_cloth,
    sample_grey,
    sample_skin,
    sample_vivid,
)


def sample_backdrop(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    """Paint a place.

    Args:
        horizon: pixels from the top.

    Returns:
        u8 [size, size, 3], RGB.
    """
    paint = _PLACES[int(rng.choice(len(_PLACES), p=_WEIGHTS))]
    image = paint(rng, size, horizon)
    grain = cv2.resize(rng.normal(0, rng.uniform(1, 8), (24, 24)).astype(np.float32), (size, size))
    image = np.clip(image + grain[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.4:  # out of focus
        sigma = rng.uniform(0.002, 0.016) * size
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    return image


def _gradient(size: int, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, size)[:, None]
    column = (np.asarray(top) * (1 - t) + np.asarray(bottom) * t).astype(np.uint8)
    return np.repeat(column[:, None], size, axis=1)


def _sky(rng: np.random.Generator, size: int) -> np.ndarray:
    day = [((86, 150, 220), (206, 228, 244)), ((150, 166, 184), (220, 224, 226)), ((96, 92, 150), (250, 190, 150))]
    top, bottom = day[int(rng.choice(3, p=[0.55, 0.3, 0.15]))]
    image = _gradient(size, np.array(top), np.array(bottom))
    for _ in range(int(rng.integers(0, 7))):
        centre = rng.uniform(0, 1, 2) * (size, size * 0.4)
        for _ in range(5):
            at = centre + rng.normal(0, 0.04, 2) * (size * 1.6, size * 0.5)
            _ellipse(image, at, rng.uniform(0.03, 0.09) * size, rng.uniform(0.012, 0.03) * size, (244, 246, 248))
    return image


def _ellipse(image: np.ndarray, centre: np.ndarray, rx: float, ry: float, color: Color) -> None:
    x, y, rx, ry = (round(float(v) * 16) for v in (centre[0], centre[1], max(rx, 0.5), max(ry, 0.5)))
    cv2.ellipse(image, ((x / 16, y / 16), (rx / 8, ry / 8), 0.0), color, cv2.FILLED, cv2.LINE_AA)


def _box(image: np.ndarray, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
    cv2.rectangle(image, (round(x0), round(y0)), (round(x1), round(y1)), color, cv2.FILLED)


def _tone(color: Color, factor: float) -> Color:
    r, g, b = (int(np.clip(c * factor, 0, 255)) for c in color)
    return r, g, b


def _ground(rng: np.random.Generator, image: np.ndarray, horizon: float, color: Color) -> None:
    size, top = image.shape[0], round(horizon)
    if top >= size:
        return
    image[top:] = _gradient(size, np.array(_tone(color, 0.86)), np.array(_tone(color, 1.1)))[top:]
    specks = rng.integers(0, 256, (size - top, size), dtype=np.uint8)
    depth = np.linspace(0.03, 0.12, size - top)[:, None]
    change = (specks.astype(np.float32) - 128) * depth
    image[top:] = np.clip(image[top:] + change[..., None], 0, 255)


def _tree(rng: np.random.Generator, image: np.ndarray, x: float, foot: float, height: float) -> None:
    trunk = (int(rng.integers(70, 110)), int(rng.integers(52, 76)), 46)
    _box(image, x - height * 0.035, foot - height * 0.5, x + height * 0.035, foot, trunk)
    leaf = (int(rng.integers(46, 120)), int(rng.integers(96, 150)), int(rng.integers(40, 80)))
    for _ in range(22):
        at = np.array([x, foot - height * 0.68]) + rng.normal(0, 0.13, 2) * (height, height * 0.9)
        lift = 0.75 + 0.5 * np.clip((foot - height * 0.4 - at[1]) / height, 0, 1)
        radius = rng.uniform(0.05, 0.13) * height
        _ellipse(image, at, radius, radius * 0.85, _tone(leaf, lift * rng.uniform(0.85, 1.12)))


def _park(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = _sky(rng, size)
    xs = np.linspace(0, size, 24)
    for layer in range(2):
        ridge = horizon - size * (0.12 - 0.06 * layer) * (
            1 + 0.6 * np.sin(xs / size * rng.uniform(4, 12) + rng.uniform(0, 6))
        )
        hill = np.concatenate([np.stack([xs, ridge], 1), [[size, size], [0, size]]]).astype(np.int32)
        cv2.fillPoly(image, [hill], [(126, 158, 150), (96, 140, 104)][layer], cv2.LINE_AA)
    grass = (int(rng.integers(96, 140)), int(rng.integers(140, 172)), int(rng.integers(70, 100)))
    _ground(rng, image, horizon, grass)
    if rng.random() < 0.5:
        x, w = rng.uniform(0.2, 0.8) * size, rng.uniform(0.2, 0.6) * size
        path = np.array([[x, horizon], [x + 0.03 * size, horizon], [x + w, size], [x - w, size]], np.int32)
        cv2.fillPoly(image, [path], (196, 180, 150), cv2.LINE_AA)
    for depth in np.sort(rng.uniform(0.02, 0.35, int(rng.integers(2, 8)))):
        _tree(rng, image, rng.uniform(0, size), horizon + depth * size * 0.5, size * (0.2 + depth * 1.5))
    return image


def _street(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = _sky(rng, size)
    x = -rng.uniform(0, 0.2) * size
    while x < size:
        width, height = rng.uniform(0.15, 0.4) * size, rng.uniform(0.25, 0.9) * horizon + 0.1 * size
        wall = _tone(sample_vivid(rng), 0.9) if rng.random() < 0.5 else _tone((188, 160, 136), rng.uniform(0.7, 1.2))
        top = horizon - height
        _box(image, x, top, x + width, horizon + 2, wall)
        pane, columns = width / rng.integers(3, 6), int(rng.integers(3, 6))
        glass = (90, 112, 134) if rng.random() < 0.7 else (250, 226, 160)
        for row in range(int(height / pane / 1.4)):
            for column in range(columns):
                wx, wy = x + (column + 0.22) * width / columns, top + (row + 0.3) * pane * 1.4
                _box(image, wx, wy, wx + width / columns * 0.56, wy + pane * 0.8, _tone(glass, rng.uniform(0.8, 1.15)))
        x += width * rng.uniform(1.0, 1.15)
    _ground(rng, image, horizon, (132, 130, 132))
    _box(image, 0, horizon, size, horizon + 0.05 * size, (176, 172, 166))
    for mark in range(6):
        y = horizon + (0.12 + 0.1 * mark) * size
        _box(image, size * (0.5 - 0.02 * mark), y, size * (0.5 + 0.02 * (mark + 1)), y + 0.03 * size, (224, 222, 210))
    for _ in range(int(rng.integers(0, 3))):
        _lamp(image, rng.uniform(0, size), horizon + 0.06 * size, rng.uniform(0.4, 0.8) * size)
    if rng.random() < 0.6:
        _car(rng, image, horizon + 0.1 * size, rng.uniform(0.2, 0.45) * size)
    return image


def _lamp(image: np.ndarray, x: float, foot: float, height: float) -> None:
    _box(image, x - height * 0.012, foot - height, x + height * 0.012, foot, (58, 62, 66))
    _ellipse(image, np.array([x, foot - height]), height * 0.05, height * 0.03, (252, 240, 200))


def _car(rng: np.random.Generator, image: np.ndarray, foot: float, width: float) -> None:
    x, color = rng.uniform(-0.2, 0.9) * image.shape[1], sample_vivid(rng)
    cabin = np.array([[0.2, 0.26], [0.32, 0.42], [0.68, 0.42], [0.82, 0.26]]) * width
    cv2.fillPoly(
        image, [(np.array([x, foot]) + cabin * (1, -1)).astype(np.int32)], _tone((150, 180, 200), 0.8), cv2.LINE_AA
    )
    _box(image, x, foot - width * 0.27, x + width, foot - width * 0.06, color)
    for wheel in (0.22, 0.78):
        _ellipse(image, np.array([x + wheel * width, foot - width * 0.07]), width * 0.085, width * 0.085, (36, 36, 40))
        _ellipse(image, np.array([x + wheel * width, foot - width * 0.07]), width * 0.04, width * 0.04, (170, 172, 176))


def _room(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    wall = _tone((226, 216, 200), rng.uniform(0.7, 1.08)) if rng.random() < 0.5 else _tone(sample_vivid(rng), 0.95)
    foot = horizon + rng.uniform(0.05, 0.2) * size
    image = _gradient(size, np.array(_tone(wall, 1.04)), np.array(_tone(wall, 0.9)))
    if rng.random() < 0.4:
        step = rng.uniform(0.04, 0.1) * size
        for x in np.arange(0, size, step):
            _box(image, x, 0, x + step * 0.45, foot, _tone(wall, 0.93))
    if rng.random() < 0.5:
        _window(rng, image, rng.uniform(0.0, 0.7) * size, foot)
    for _ in range(int(rng.integers(0, 4))):
        x, y, w, h = rng.uniform(0, 0.9) * size, rng.uniform(0.02, 0.4) * foot, *(rng.uniform(0.07, 0.2, 2) * size)
        _box(image, x, y, x + w, y + h, (62, 50, 42))
        _box(image, x + 2, y + 2, x + w - 2, y + h - 2, sample_vivid(rng))
        _ellipse(image, np.array([x + w / 2, y + h * 0.6]), w * 0.25, h * 0.22, sample_vivid(rng))
    _floor(rng, image, foot)
    _box(image, 0, foot - 0.014 * size, size, foot, _tone(wall, 1.12))
    for _ in range(int(rng.integers(1, 4))):
        furniture = (_shelf, _sofa, _plant, _table)[int(rng.integers(4))]
        furniture(rng, image, rng.uniform(-0.1, 0.9) * size, foot + rng.uniform(0.0, 0.12) * size)
    return image


def _window(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0]
    w, y0, y1 = rng.uniform(0.2, 0.4) * size, 0.08 * foot, 0.62 * foot
    _box(image, x - 3, y0 - 3, x + w + 3, y1 + 3, (246, 244, 240))
    _box(image, x, y0, x + w, y1, (176, 210, 236))
    for _ in range(8):
        at = np.array([x + rng.uniform(0.1, 0.9) * w, y1 - 0.12 * (y1 - y0)])
        _ellipse(image, at, w * 0.12, (y1 - y0) * 0.1, (112, 150, 104))
    _box(image, x + w / 2 - 1, y0, x + w / 2 + 1, y1, (246, 244, 240))


def _floor(rng: np.random.Generator, image: np.ndarray, foot: float) -> None:
    size = image.shape[0]
    wood = _tone((176, 132, 92), rng.uniform(0.7, 1.15)) if rng.random() < 0.6 else sample_grey(rng)
    _ground(rng, image, foot, wood)
    for x in np.linspace(-1.2, 2.2, int(rng.integers(10, 24))) * size:
        end = size / 2 + (x - size / 2) * 0.35
        cv2.line(image, (round(end), round(foot)), (round(x), size), _tone(wood, 0.82), 1, cv2.LINE_AA)
    if rng.random() < 0.4:
        at = np.array([rng.uniform(0.2, 0.8) * size, (foot + size) / 2])
        rug = sample_vivid(rng)
        _ellipse(image, at, 0.36 * size, 0.3 * (size - foot), rug)
        _ellipse(image, at, 0.3 * size, 0.24 * (size - foot), _tone(rug, 1.2))


def _shelf(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0]
    w, h = rng.uniform(0.16, 0.34) * size, rng.uniform(0.3, 0.6) * size
    wood = _tone((140, 100, 70), rng.uniform(0.6, 1.3))
    _box(image, x, foot - h, x + w, foot, wood)
    rows = int(rng.integers(2, 5))
    for row in range(rows):
        y0, y1 = foot - h + (row + 0.1) * h / rows, foot - h + (row + 0.92) * h / rows
        _box(image, x + 3, y0, x + w - 3, y1, _tone(wood, 0.6))
        at = x + 4.0
        while at < x + w - 6:
            thick = rng.uniform(0.012, 0.03) * size
            if rng.random() < 0.85:
                _box(
                    image,
                    at,
                    y1 - (y1 - y0) * rng.uniform(0.55, 0.95),
                    min(at + thick, x + w - 4),
                    y1,
                    sample_vivid(rng),
                )
            at += thick + 1


def _sofa(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0]
    w, h, color = rng.uniform(0.35, 0.6) * size, rng.uniform(0.16, 0.24) * size, sample_vivid(rng)
    _box(image, x, foot - h, x + w, foot - h * 0.3, _tone(color, 0.85))
    _box(image, x - w * 0.06, foot - h * 0.7, x + w * 0.07, foot, _tone(color, 0.95))
    _box(image, x + w * 0.93, foot - h * 0.7, x + w * 1.06, foot, _tone(color, 0.95))
    _box(image, x + w * 0.07, foot - h * 0.5, x + w * 0.93, foot - h * 0.05, color)
    _ellipse(image, np.array([x + w * 0.25, foot - h * 0.62]), w * 0.09, h * 0.2, sample_vivid(rng))


def _plant(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0] * rng.uniform(0.2, 0.45)
    pot = np.array([[-0.16, -0.3], [0.16, -0.3], [0.11, 0.0], [-0.11, 0.0]]) * size + (x, foot)
    for angle in rng.uniform(-1.2, 1.2, 11):
        tip = np.array([x + np.sin(angle) * size * 0.42, foot - size * (0.3 + 0.62 * np.cos(angle))])
        mid = (tip + np.array([x, foot - size * 0.42])) / 2
        half = np.array([size * 0.05, 0.0])
        leaf = np.stack([np.array([x - 2, foot - size * 0.3]), mid - half, tip, mid + half])
        cv2.fillPoly(image, [leaf.astype(np.int32)], _tone((70, 130, 76), rng.uniform(0.7, 1.2)), cv2.LINE_AA)
    cv2.fillPoly(image, [pot.astype(np.int32)], _tone((190, 110, 80), rng.uniform(0.7, 1.1)), cv2.LINE_AA)


def _table(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0]
    w, h, wood = (
        rng.uniform(0.3, 0.5) * size,
        rng.uniform(0.14, 0.22) * size,
        _tone((168, 124, 84), rng.uniform(0.5, 1.2)),
    )
    for leg in (0.06, 0.9):
        _box(image, x + leg * w, foot - h, x + (leg + 0.04) * w, foot, _tone(wood, 0.75))
    _box(image, x, foot - h, x + w, foot - h + 0.02 * size, wood)
    _ellipse(image, np.array([x + w * 0.5, foot - h - 0.03 * size]), 0.025 * size, 0.03 * size, sample_vivid(rng))


def _court(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = _gradient(size, np.array(sample_vivid(rng, dark=True)), np.array(sample_vivid(rng, dark=True)))
    y0 = horizon - rng.uniform(0.08, 0.2) * size
    x = 0.0
    while x < size:
        width = rng.uniform(0.1, 0.3) * size
        _box(image, x, y0, x + width, horizon, sample_vivid(rng))
        _box(image, x + width * 0.2, y0 + 0.03 * size, x + width * 0.8, y0 + 0.05 * size, (240, 240, 240))
        x += width
    _ground(rng, image, horizon, sample_vivid(rng))
    for x in (rng.uniform(-0.5, 1.5, 4) * size).astype(int):
        cv2.line(
            image,
            (round(size / 2 + (int(x) - size / 2) * 0.4), round(horizon)),
            (int(x), size),
            (238, 238, 232),
            2,
            cv2.LINE_AA,
        )
    at = np.array([rng.uniform(0.2, 0.8) * size, horizon + 0.3 * size])
    axes = (round(0.3 * size), round(0.08 * size))
    cv2.ellipse(image, (round(float(at[0])), round(float(at[1]))), axes, 0, 0, 360, (238, 238, 232), 2, cv2.LINE_AA)
    return image


def _beach(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = _sky(rng, size)
    shore = horizon + rng.uniform(0.06, 0.18) * size
    image[round(horizon) :] = _gradient(size, np.array((70, 140, 170)), np.array((52, 160, 176)))[round(horizon) :]
    for _ in range(22):
        x, y = rng.uniform(0, size), rng.uniform(horizon, shore)
        _ellipse(image, np.array([x, y]), rng.uniform(0.02, 0.1) * size, 0.8, (170, 214, 220))
    _ground(rng, image, shore, (226, 206, 164))
    for _ in range(int(rng.integers(0, 4))):
        x, r = rng.uniform(0, size), rng.uniform(0.08, 0.16) * size
        _box(image, x - 1.5, shore - r, x + 1, shore + r, (240, 236, 226))
        cv2.ellipse(
            image,
            (round(x), round(shore - r * 0.6)),
            (round(r), round(r * 0.7)),
            0,
            180,
            360,
            sample_vivid(rng),
            -1,
            cv2.LINE_AA,
        )
    return image


def _abstract(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = _gradient(size, np.array(sample_vivid(rng)), np.array(sample_vivid(rng)))
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image.transpose(1, 0, 2))
    for _ in range(int(rng.integers(4, 26))):
        color, at = sample_vivid(rng), rng.uniform(0, size, 2)
        if rng.random() < 0.5:
            polygon = at + rng.normal(0, 0.16 * size, (int(rng.integers(3, 7)), 2))
            cv2.fillPoly(image, [cv2.convexHull(polygon.astype(np.int32))], color, cv2.LINE_AA)
        else:
            _ellipse(image, at, rng.uniform(0.02, 0.2) * size, rng.uniform(0.02, 0.2) * size, color)
    return image


_PLACES: tuple[Callable[[np.random.Generator, int, float], np.ndarray], ...] = (
    _park,
    _street,
    _room,
    _court,
    _beach,
    _abstract,
)
_WEIGHTS = (0.2, 0.2, 0.28, 0.11, 0.09, 0.12)


def add_distractors(rng: np.random.Generator, canvas: Canvas) -> None:
    """Paint things as round as limbs and often of their colours: tubes, balls, cushions."""
    side = canvas.owner.shape[0]
    for _ in range(int(rng.poisson(1.6))):
        material = [Material(sample_skin(rng)), sample_cloth(rng)][int(rng.random() < 0.6)]
        add_capsule(rng, canvas, rng.uniform(0, side, 2), material, rng.uniform(0.01, 0.07) * side)


def add_capsule(rng: np.random.Generator, canvas: Canvas, at: np.ndarray, material: Material, radius: float) -> None:
    """One tapered capsule around ``at``; it belongs to nobody."""
    angle, length = rng.uniform(0, np.pi), radius * (rng.uniform(2, 9) if rng.random() < 0.7 else 0.0)
    along = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    rim = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * radius
    points = np.concatenate([at - along + rim, at + along + rim * rng.uniform(0.5, 1.0)]).astype(np.float32)
    canvas.paint([cv2.convexHull(points)[:, 0]], (at - along, at + along + 1e-2), material, 0, unit=radius * 25)


def add_obstacle(rng: np.random.Generator, canvas: Canvas, x: float, foot: float, height: float) -> None:
    """Paint something that stands before a person: a crate, a post, a bush. Belongs to nobody."""
    kind = int(rng.integers(3))
    if kind == 0:
        w, h = rng.uniform(0.25, 0.6) * height, rng.uniform(0.2, 0.45) * height
        box = np.array([[x - w / 2, foot - h], [x + w / 2, foot - h], [x + w / 2, foot], [x - w / 2, foot]])
        material = Material(sample_vivid(rng, dark=True), sample_vivid(rng), Pattern.hoops, 0.08)
        canvas.paint([box], (box[0], box[3]), material, 0, unit=height)
    elif kind == 1:
        w = rng.uniform(0.03, 0.07) * height
        top = foot - rng.uniform(0.7, 1.6) * height
        post = np.array([[x - w, top], [x + w, top], [x + w, foot], [x - w, foot]])
        canvas.paint([post], (post[0], post[3]), Material(sample_grey(rng)), 0)
    else:
        leaf: Color = (int(rng.integers(50, 110)), int(rng.integers(96, 140)), int(rng.integers(46, 80)))
        turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
        for _ in range(14):
            at = np.array([x, foot - 0.14 * height]) + rng.normal(0, 1, 2) * (0.13 * height, 0.07 * height)
            blob = at + np.stack([np.cos(turn), np.sin(turn)], -1) * rng.uniform(0.04, 0.1) * height
            canvas.fill(blob, _tone(leaf, rng.uniform(0.7, 1.25)), owner=0)
