"""Brushes for backdrops. Images are u8 [S, S, 3], RGB, and are painted on in place; lengths are pixels."""

from __future__ import annotations

import cv2
import numpy as np

from datamodules.synthetic.palette import Color


def gradient(size: int, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, size)[:, None]
    column = (np.asarray(top) * (1 - t) + np.asarray(bottom) * t).astype(np.uint8)
    return np.repeat(column[:, None], size, axis=1)


def ellipse(image: np.ndarray, centre: np.ndarray, rx: float, ry: float, color: Color) -> None:
    x, y, rx, ry = (round(float(v) * 16) for v in (centre[0], centre[1], max(rx, 0.5), max(ry, 0.5)))
    cv2.ellipse(image, ((x / 16, y / 16), (rx / 8, ry / 8), 0.0), color, cv2.FILLED, cv2.LINE_AA)


def box(image: np.ndarray, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
    cv2.rectangle(image, (round(x0), round(y0)), (round(x1), round(y1)), color, cv2.FILLED)


def tone(color: Color, factor: float) -> Color:
    r, g, b = (int(np.clip(c * factor, 0, 255)) for c in color)
    return r, g, b


def grain(image: np.ndarray, change: np.ndarray) -> None:
    """Add to every channel, i16 [h, w]."""
    cv2.add(image, cv2.merge([change, change, change]), dst=image, dtype=cv2.CV_8U)


def ground(rng: np.random.Generator, image: np.ndarray, horizon: float, color: Color) -> None:
    size, top = image.shape[0], round(horizon)
    if top >= size:
        return
    image[top:] = gradient(size, np.array(tone(color, 0.86)), np.array(tone(color, 1.1)))[top:]
    specks = rng.integers(0, 256, (size - top, size), dtype=np.uint8).astype(np.int16) - 128
    nearness = np.linspace(8, 31, size - top).astype(np.int16)[:, None]
    grain(image[top:], specks * nearness // 256)
