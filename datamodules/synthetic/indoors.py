"""A room and its furniture."""

from __future__ import annotations

import cv2
import numpy as np

from datamodules.synthetic.brushes import box, ellipse, gradient, ground, tone
from datamodules.synthetic.palette import sample_grey, sample_muted, sample_vivid


def room(rng: np.random.Generator, size: int, horizon: float) -> np.ndarray:
    wall = tone((226, 216, 200), rng.uniform(0.7, 1.08)) if rng.random() < 0.5 else sample_muted(rng)
    foot = horizon + rng.uniform(0.05, 0.2) * size
    image = gradient(size, np.array(tone(wall, 1.04)), np.array(tone(wall, 0.9)))
    if rng.random() < 0.4:
        step = rng.uniform(0.04, 0.1) * size
        for x in np.arange(0, size, step):
            box(image, x, 0, x + step * 0.45, foot, tone(wall, 0.93))
    if rng.random() < 0.5:
        _window(rng, image, rng.uniform(0.0, 0.7) * size, foot)
    for _ in range(int(rng.integers(0, 4))):
        x, y, w, h = rng.uniform(0, 0.9) * size, rng.uniform(0.02, 0.4) * foot, *(rng.uniform(0.07, 0.2, 2) * size)
        box(image, x, y, x + w, y + h, (62, 50, 42))
        box(image, x + 2, y + 2, x + w - 2, y + h - 2, sample_vivid(rng))
        ellipse(image, np.array([x + w / 2, y + h * 0.6]), w * 0.25, h * 0.22, sample_vivid(rng))
    _floor(rng, image, foot)
    box(image, 0, foot - 0.014 * size, size, foot, tone(wall, 1.12))
    for _ in range(int(rng.integers(1, 4))):
        furniture = (_shelf, _sofa, _plant, _table)[int(rng.integers(4))]
        furniture(rng, image, rng.uniform(-0.1, 0.9) * size, foot + rng.uniform(0.0, 0.12) * size)
    return image


def _window(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0]
    w, y0, y1 = rng.uniform(0.2, 0.4) * size, 0.08 * foot, 0.62 * foot
    box(image, x - 3, y0 - 3, x + w + 3, y1 + 3, (246, 244, 240))
    box(image, x, y0, x + w, y1, (176, 210, 236))
    for _ in range(8):
        at = np.array([x + rng.uniform(0.1, 0.9) * w, y1 - 0.12 * (y1 - y0)])
        ellipse(image, at, w * 0.12, (y1 - y0) * 0.1, (112, 150, 104))
    box(image, x + w / 2 - 1, y0, x + w / 2 + 1, y1, (246, 244, 240))


def _floor(rng: np.random.Generator, image: np.ndarray, foot: float) -> None:
    size = image.shape[0]
    wood = tone((176, 132, 92), rng.uniform(0.7, 1.15)) if rng.random() < 0.6 else sample_grey(rng)
    ground(rng, image, foot, wood)
    for x in np.linspace(-1.2, 2.2, int(rng.integers(10, 24))) * size:
        end = size / 2 + (x - size / 2) * 0.35
        cv2.line(image, (round(end), round(foot)), (round(x), size), tone(wood, 0.82), 1, cv2.LINE_AA)
    if rng.random() < 0.4:
        at = np.array([rng.uniform(0.2, 0.8) * size, (foot + size) / 2])
        rug = sample_muted(rng)
        ellipse(image, at, 0.36 * size, 0.3 * (size - foot), rug)
        ellipse(image, at, 0.3 * size, 0.24 * (size - foot), tone(rug, 1.2))


def _shelf(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0]
    w, h = rng.uniform(0.16, 0.34) * size, rng.uniform(0.3, 0.6) * size
    wood = tone((140, 100, 70), rng.uniform(0.6, 1.3))
    box(image, x, foot - h, x + w, foot, wood)
    rows = int(rng.integers(2, 5))
    for row in range(rows):
        y0, y1 = foot - h + (row + 0.1) * h / rows, foot - h + (row + 0.92) * h / rows
        box(image, x + 3, y0, x + w - 3, y1, tone(wood, 0.6))
        at = x + 4.0
        while at < x + w - 6:
            thick = rng.uniform(0.012, 0.03) * size
            if rng.random() < 0.85:
                box(
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
    w, h, color = rng.uniform(0.35, 0.6) * size, rng.uniform(0.16, 0.24) * size, sample_muted(rng)
    box(image, x, foot - h, x + w, foot - h * 0.3, tone(color, 0.85))
    box(image, x - w * 0.06, foot - h * 0.7, x + w * 0.07, foot, tone(color, 0.95))
    box(image, x + w * 0.93, foot - h * 0.7, x + w * 1.06, foot, tone(color, 0.95))
    box(image, x + w * 0.07, foot - h * 0.5, x + w * 0.93, foot - h * 0.05, color)
    ellipse(image, np.array([x + w * 0.25, foot - h * 0.62]), w * 0.09, h * 0.2, sample_vivid(rng))


def _plant(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0] * rng.uniform(0.2, 0.45)
    pot = np.array([[-0.16, -0.3], [0.16, -0.3], [0.11, 0.0], [-0.11, 0.0]]) * size + (x, foot)
    for angle in rng.uniform(-1.2, 1.2, 11):
        tip = np.array([x + np.sin(angle) * size * 0.42, foot - size * (0.3 + 0.62 * np.cos(angle))])
        mid = (tip + np.array([x, foot - size * 0.42])) / 2
        half = np.array([size * 0.05, 0.0])
        leaf = np.stack([np.array([x - 2, foot - size * 0.3]), mid - half, tip, mid + half])
        cv2.fillPoly(image, [leaf.astype(np.int32)], tone((70, 130, 76), rng.uniform(0.7, 1.2)), cv2.LINE_AA)
    cv2.fillPoly(image, [pot.astype(np.int32)], tone((190, 110, 80), rng.uniform(0.7, 1.1)), cv2.LINE_AA)


def _table(rng: np.random.Generator, image: np.ndarray, x: float, foot: float) -> None:
    size = image.shape[0]
    w, h, wood = (
        rng.uniform(0.3, 0.5) * size,
        rng.uniform(0.14, 0.22) * size,
        tone((168, 124, 84), rng.uniform(0.5, 1.2)),
    )
    for leg in (0.06, 0.9):
        box(image, x + leg * w, foot - h, x + (leg + 0.04) * w, foot, tone(wood, 0.75))
    box(image, x, foot - h, x + w, foot - h + 0.02 * size, wood)
    ellipse(image, np.array([x + w * 0.5, foot - h - 0.03 * size]), 0.025 * size, 0.03 * size, sample_vivid(rng))
