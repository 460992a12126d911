"""What analyses share: validation samples to show, one by one, and the folder the pictures go to."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from callbacks.pictures import to_uint8
from datamodules.coco import CocoDataModule
from datamodules.contracts import PoseBatch
from experiments.checkpoint import Trained
from experiments.command_line import make_folder
from experiments.config import ConfigError


class Shown(NamedTuple):
    """A sample and its picture."""

    batch: PoseBatch
    """B = 1, normalised, padded as in its evaluation."""
    image: np.ndarray
    """u8 [H, W, 3], RGB, without padding."""


def output_folder(options: Namespace, trained: Trained) -> Path:
    """``--out``, else ``analysis`` beside the checkpoint; made where it is missing.

    Raises:
        ValueError: it cannot be made.
    """
    return make_folder(Path(options.out) if options.out else trained.file.parent / "analysis")


def shown_samples(trained: Trained, count: int, is_shown: Callable[[PoseBatch], bool], sought: str) -> list[Shown]:
    """The first ``count`` validation samples that an analysis can show; fewer where there are not as many.

    Args:
        is_shown: asked of every sample as a batch of one.
        sought: what ``is_shown`` looks for, for the message.

    Raises:
        ConfigError: there is none, or none is asked for.
    """
    if count < 1:
        raise ConfigError(f"--images {count}: must be at least 1")
    config = trained.config.data
    data = CocoDataModule(config, trained.skeleton, trained.config.seed)
    data.prepare_data()
    data.setup("validate")
    found: list[Shown] = []
    for batch in data.val_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        for row in range(len(batch.images)):
            sample = only(batch, row)
            if is_shown(sample):
                found.append(Shown(sample, to_uint8(sample, 0, config.mean, config.std)))
            if len(found) == count:
                return found
    if not found:
        raise ConfigError(f"{data.val_annotation_file}: {sought} is not there to be shown")
    return found


def only(batch: PoseBatch, row: int) -> PoseBatch:
    """The batch of sample ``row`` alone."""
    one = slice(row, row + 1)
    return PoseBatch(
        batch.images[one],
        type(batch.persons)(*(value[one] for value in batch.persons)),
        batch.ignore[one],
        None if batch.instance_masks is None else batch.instance_masks[one],
        type(batch.meta)(*(value[one] for value in batch.meta)),
    )


def shows_a_labelled_person(batch: PoseBatch) -> bool:
    return bool((batch.persons.visibility > 0).any())
