"""Places outdoors: park, street, beach, court. Each paints u8 [size, size, 3] with its horizon at a row."""

from __future__ import annotations

import cv2
import numpy as np

from datamodules.synthetic.brushes import box, ellipse, gradient, ground, tone
from datamodules.synthetic.chance import choose
from datamodules.synthetic.palette import blend, sample_muted, sample_vivid


def park(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = sky(rng, size)
    xs = np.linspace(0, size, 24)
    for layer in range(2):
        ridge = horizon - size * (0.12 - 0.06 * layer) * (
            1 + 0.6 * np.sin(xs / size * rng.uniform(4, 12) + rng.uniform(0, 6))
        )
        hill = np.concatenate([np.stack([xs, ridge], 1), [[size, size], [0, size]]]).astype(np.int32)
        cv2.fillPoly(image, [hill], [(126, 158, 150), (96, 140, 104)][layer], cv2.LINE_AA)
    grass = (int(rng.integers(96, 140)), int(rng.integers(140, 172)), int(rng.integers(70, 100)))
    ground(rng, image, horizon, grass)
    if rng.random() < 0.5:
        x, w = rng.uniform(0.2, 0.8) * size, rng.uniform(0.2, 0.6) * size
        path = np.array([[x, horizon], [x + 0.03 * size, horizon], [x + w, size], [x - w, size]], np.int32)
        cv2.fillPoly(image, [path], (196, 180, 150), cv2.LINE_AA)
    for depth in np.sort(rng.uniform(0.02, 0.35, int(rng.integers(2, 8)))):
        _tree(rng, image, rng.uniform(0, size), horizon + depth * size * 0.5, size * (0.2 + depth * 1.5))
    return image


def street(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = sky(rng, size)
    x = -rng.uniform(0, 0.2) * size
    while x < size:
        width, height = rng.uniform(0.15, 0.4) * size, rng.uniform(0.25, 0.9) * horizon + 0.1 * size
        wall = sample_muted(rng) if rng.random() < 0.5 else tone((188, 160, 136), rng.uniform(0.7, 1.2))
        top = horizon - height
        box(image, x, top, x + width, horizon + 2, wall)
        pane, columns = width / rng.integers(3, 6), int(rng.integers(3, 6))
        glass = (90, 112, 134) if rng.random() < 0.7 else (250, 226, 160)
        for row in range(int(height / pane / 1.4)):
            for column in range(columns):
                wx, wy = x + (column + 0.22) * width / columns, top + (row + 0.3) * pane * 1.4
                box(image, wx, wy, wx + width / columns * 0.56, wy + pane * 0.8, tone(glass, rng.uniform(0.8, 1.15)))
        x += width * rng.uniform(1.0, 1.15)
    ground(rng, image, horizon, (132, 130, 132))
    box(image, 0, horizon, size, horizon + 0.05 * size, (176, 172, 166))
    for mark in range(6):
        y = horizon + (0.12 + 0.1 * mark) * size
        box(image, size * (0.5 - 0.02 * mark), y, size * (0.5 + 0.02 * (mark + 1)), y + 0.03 * size, (224, 222, 210))
    for _ in range(int(rng.integers(0, 3))):
        _lamp(image, rng.uniform(0, size), horizon + 0.06 * size, rng.uniform(0.4, 0.8) * size)
    if rng.random() < 0.6:
        _car(rng, image, horizon + 0.1 * size, rng.uniform(0.2, 0.45) * size)
    return image


def court(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = gradient(size, np.array(sample_vivid(rng, dark=True)), np.array(sample_vivid(rng, dark=True)))
    y0 = horizon - rng.uniform(0.08, 0.2) * size
    x = 0.0
    while x < size:
        width = rng.uniform(0.1, 0.3) * size
        box(image, x, y0, x + width, horizon, sample_vivid(rng))
        box(image, x + width * 0.2, y0 + 0.03 * size, x + width * 0.8, y0 + 0.05 * size, (240, 240, 240))
        x += width
    ground(rng, image, horizon, blend(sample_vivid(rng), (120, 120, 120), 0.3))
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


def beach(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    image = sky(rng, size)
    shore = horizon + rng.uniform(0.06, 0.18) * size
    image[round(horizon) :] = gradient(size, np.array((70, 140, 170)), np.array((52, 160, 176)))[round(horizon) :]
    for _ in range(22):
        x, y = rng.uniform(0, size), rng.uniform(horizon, shore)
        ellipse(image, np.array([x, y]), rng.uniform(0.02, 0.1) * size, 0.8, (170, 214, 220))
    ground(rng, image, shore, (226, 206, 164))
    for _ in range(int(rng.integers(0, 4))):
        x, r = rng.uniform(0, size), rng.uniform(0.08, 0.16) * size
        box(image, x - 1.5, shore - r, x + 1, shore + r, (240, 236, 226))
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


def sky(rng: np.random.Generator, size: int) -> np.ndarray:
    day = [((86, 150, 220), (206, 228, 244)), ((150, 166, 184), (220, 224, 226)), ((96, 92, 150), (250, 190, 150))]
    top, bottom = day[choose(rng, [0.55, 0.3, 0.15])]
    image = gradient(size, np.array(top), np.array(bottom))
    for _ in range(int(rng.integers(0, 7))):
        centre = rng.uniform(0, 1, 2) * (size, size * 0.4)
        for _ in range(5):
            at = centre + rng.normal(0, 0.04, 2) * (size * 1.6, size * 0.5)
            ellipse(image, at, rng.uniform(0.03, 0.09) * size, rng.uniform(0.012, 0.03) * size, (244, 246, 248))
    return image


def _tree(rng: np.random.Generator, image: np.ndarray, x: float, foot: float, height: float) -> None:
    trunk = (int(rng.integers(70, 110)), int(rng.integers(52, 76)), 46)
    box(image, x - height * 0.035, foot - height * 0.5, x + height * 0.035, foot, trunk)
    leaf = (int(rng.integers(46, 120)), int(rng.integers(96, 150)), int(rng.integers(40, 80)))
    for _ in range(22):
        at = np.array([x, foot - height * 0.68]) + rng.normal(0, 0.13, 2) * (height, height * 0.9)
        lift = 0.75 + 0.5 * np.clip((foot - height * 0.4 - at[1]) / height, 0, 1)
        radius = rng.uniform(0.05, 0.13) * height
        ellipse(image, at, radius, radius * 0.85, tone(leaf, lift * rng.uniform(0.85, 1.12)))


def _lamp(image: np.ndarray, x: float, foot: float, height: float) -> None:
    box(image, x - height * 0.012, foot - height, x + height * 0.012, foot, (58, 62, 66))
    ellipse(image, np.array([x, foot - height]), height * 0.05, height * 0.03, (252, 240, 200))


def _car(rng: np.random.Generator, image: np.ndarray, foot: float, width: float) -> None:
    x, color = rng.uniform(-0.2, 0.9) * image.shape[1], sample_vivid(rng)
    cabin = np.array([[0.2, 0.26], [0.32, 0.42], [0.68, 0.42], [0.82, 0.26]]) * width
    cv2.fillPoly(
        image, [(np.array([x, foot]) + cabin * (1, -1)).astype(np.int32)], tone((150, 180, 200), 0.8), cv2.LINE_AA
    )
    box(image, x, foot - width * 0.27, x + width, foot - width * 0.06, color)
    for wheel in (0.22, 0.78):
        ellipse(image, np.array([x + wheel * width, foot - width * 0.07]), width * 0.085, width * 0.085, (36, 36, 40))
        ellipse(image, np.array([x + wheel * width, foot - width * 0.07]), width * 0.04, width * 0.04, (170, 172, 176))
