"""Samples as the network sees them, on one picture: each beside its mirror twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from datamodules.annotations import Annotations
from datamodules.collate import Collate
from datamodules.config import DataConfig, WarpPlace
from datamodules.contact_sheet import contact_sheet
from datamodules.contracts import PoseBatch
from datamodules.drawing import draw_people, shade
from datamodules.sampler import Draw
from datamodules.skeleton import Skeleton
from datamodules.views import build_dataset


def sample_sheet(
    annotations: Annotations,
    config: DataConfig,
    skeleton: Skeleton,
    number: int,
    *,
    columns: int = 2,
    cell: int = 400,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Up to ``number`` training samples of ``config.view``, each beside its mirror twin, as u8 [H, W, 3], RGB.

    Keypoints and boxes are drawn as the network gets them, ignored regions are shaded.

    Args:
        seed: chooses the samples and draws their augmentation.
        columns: pairs in a row.
        cell: longest side of one picture, pixels.
    """
    pictures, captions = [], []
    twins = [
        build_dataset(
            annotations,
            replace(config, augmentation=replace(config.augmentation, flip=flip), warp=WarpPlace.worker),
            skeleton,
            train=True,
            seed=seed,
        )
        for flip in (0.0, 1.0)
    ]
    for index in np.random.default_rng(seed).permutation(len(twins[0]))[:number].tolist():
        for dataset, name in zip(twins, ("", ", mirrored"), strict=True):
            batch = Collate(pad_multiple=4)([dataset[Draw(index, 0)]])
            pictures.append(draw_batch(batch, skeleton))
            captions.append(f"{batch.meta.image_id.item()}{name}")
    return contact_sheet(pictures, columns * 2, cell=cell, captions=captions)


def draw_batch(batch: PoseBatch, skeleton: Skeleton) -> NDArray[np.uint8]:
    """The first sample of a u8 batch with its people and ignored regions, without padding: u8 [H, W, 3], RGB."""
    image = batch.images[0].permute(1, 2, 0).numpy()
    real = batch.persons.is_real[0]
    image = shade(image, batch.ignore[0].numpy())
    image = draw_people(
        image,
        batch.persons.keypoints[0][real].numpy(),
        batch.persons.visibility[0][real].numpy(),
        skeleton=skeleton,
        boxes=batch.persons.boxes[0][real].numpy(),
    )
    height, width = batch.meta.input_hw[0].tolist()
    return image[:height, :width]
