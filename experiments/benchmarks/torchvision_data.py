"""The data path as torchvision has it: decoded, resampled and stacked by its own operations, of pixels alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms.v2 import functional

from datamodules.geometry import Matrix, compose, covers_frame, determinant, invert, map_boxes, scaling, translation

Hw = tuple[int, int]
AREA_BELOW = 0.5
"""Shrunk below this factor, photographs are averaged before they are turned, as ours are."""


class Shown(NamedTuple):
    """What an input shows of a photograph."""

    file: Path
    matrix: Matrix
    """From the photograph to the input, continuous coordinates: scaled, turned and shifted, mirrored or not."""
    hw: Hw


def batch_of(shown: Sequence[Shown], padded_hw: Hw) -> Tensor:
    """u8 [B, 3, *padded_hw], black right and below of the inputs and outside the photographs."""
    batch = torch.zeros(len(shown), 3, *padded_hw, dtype=torch.uint8)
    for image, (file, matrix, hw) in zip(batch, shown, strict=True):
        image[:, : hw[0], : hw[1]] = sampled(decode_image(read_file(str(file)), ImageReadMode.RGB), matrix, hw)
    return batch


def sampled(image: Tensor, matrix: Matrix, hw: Hw) -> Tensor:
    """Image u8 [3, h, w] through ``matrix`` -> u8 [3, *hw]: by its resize, far the fastest, where nothing is turned."""
    if determinant(matrix) < 0:
        mirrored = compose(matrix, scaling(-1.0, 1.0), translation(hw[1], 0.0))
        return functional.horizontal_flip(sampled(image, mirrored, hw))
    if covers_frame(matrix, (image.shape[1], image.shape[2]), hw):
        return functional.resize(image, list(hw), antialias=True)
    if abs(matrix[1, 0]) < 1e-9:
        return _cut(image, matrix, hw)
    scale = math.sqrt(determinant(matrix))
    if scale < AREA_BELOW:
        before = image.shape[1:]
        image = functional.resize(image, [max(1, round(side * scale)) for side in before], antialias=True)
        matrix = compose(scaling(before[1] / image.shape[2], before[0] / image.shape[1]), matrix)
    return _turned(image, matrix, hw)


def _cut(image: Tensor, matrix: Matrix, hw: Hw) -> Tensor:
    """As ``resized_crop``, to a pixel."""
    left, top, right, bottom = _window(matrix, hw)
    part = functional.crop(image, top, left, bottom - top, right - left)
    scale, (x, y) = matrix[0, 0], matrix[:, 2] + matrix[0, 0] * np.array([left, top])
    part = functional.resize(part, [round(side * scale) for side in part.shape[1:]], antialias=True)
    return functional.crop(part, round(-y), round(-x), *hw)


def _turned(image: Tensor, matrix: Matrix, hw: Hw) -> Tensor:
    left, top, right, bottom = _window(matrix, hw)
    part = functional.crop(image, top, left, max(bottom - top, hw[0]), max(right - left, hw[1]))
    (a, _, x), (c, _, y) = compose(translation(left, top), matrix).tolist()
    turned = functional.affine(  # as large as its input
        part,
        angle=math.degrees(math.atan2(c, a)),
        translate=[x, y],
        scale=math.hypot(a, c),
        shear=[0.0, 0.0],
        interpolation=functional.InterpolationMode.BILINEAR,
        center=[0.0, 0.0],
    )
    return turned[:, : hw[0], : hw[1]]


def _window(matrix: Matrix, hw: Hw) -> tuple[int, int, int, int]:
    """Whole pixels that an input of ``hw`` shows: left, top, right, bottom."""
    box = map_boxes(invert(matrix), np.array([[0.0, 0.0, hw[1], hw[0]]]))[0]
    (left, top), (right, bottom) = np.floor(box[:2]).astype(int).tolist(), np.ceil(box[2:]).astype(int).tolist()
    return left, top, right, bottom
