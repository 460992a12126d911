"""The ceiling of the representation: true heatmaps through decoding, at both input sizes and with every sub-pixel step.

What is lost is lost by the crop's borders and by the grid of the heatmap. The crops are those of the loaded batch at
the configured size; the other size is the same crop with cells as large in the photograph as it would have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.ssn.config import Config, SubPixel
from lightning_modules.ssn.decode import decode
from lightning_modules.ssn.targets import STRIDE, encode_targets

SIZES = {(256, 192): 2.0, (384, 288): 3.0}
"""Height and width of the crops, and the σ that goes with it."""


def rows(config: Config, skeleton: Skeleton) -> dict[str, Callable[[PoseBatch], Predictions]]:
    """What ``experiments.oracle`` reports: argmax, quarter shift and DARK at 256×192 and 384×288."""
    return {
        f"{height}x{width}, {sub_pixel.value}": partial(
            ceiling, config=replace(config, decode=replace(config.decode, sub_pixel=sub_pixel)), hw=(height, width)
        )
        for height, width in SIZES
        for sub_pixel in SubPixel
    }


@torch.no_grad()
def ceiling(batch: PoseBatch, config: Config, hw: tuple[int, int]) -> Predictions:
    """What decoding makes of crops of ``hw`` pixels if the network says what it is taught."""
    resized = resize(batch, hw)
    sigma = SIZES[hw]
    heatmap = encode_targets(resized.persons, (hw[0] // STRIDE, hw[1] // STRIDE), sigma).heatmap_s4
    return decode(heatmap, resized, config.decode, sigma)


def resize(batch: PoseBatch, hw: tuple[int, int]) -> PoseBatch:
    """The people of ``batch`` as crops of ``hw`` pixels would have them; the images are left as they are."""
    height, width = batch.images.shape[2:]
    factor = torch.tensor([hw[1] / width, hw[0] / height], device=batch.images.device)
    to_original = batch.meta.to_original.clone()
    to_original[:, :, :2] /= factor
    return batch._replace(
        persons=batch.persons._replace(
            keypoints=batch.persons.keypoints * factor,
            boxes=batch.persons.boxes * factor.repeat(2),
            areas=batch.persons.areas * factor.prod(),
        ),
        meta=batch.meta._replace(to_original=to_original),
    )
