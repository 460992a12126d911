"""The whole-image view: one sample is one photograph with all its people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.annotations import Annotations
from datamodules.augmentation import build_pipeline, start, warp_people
from datamodules.config import DataConfig, IgnoreShape, OnBadImage, WarpPlace
from datamodules.contracts import Meta, Persons
from datamodules.geometry import (
    Matrix,
    Source,
    compose,
    corners,
    covered_cells,
    covers_frame,
    invert,
    map_points,
    scaling,
    source_of,
)
from datamodules.photographs import ImageError, read_photograph
from datamodules.sampler import Draw
from datamodules.segments import fill_polygon
from datamodules.skeleton import Skeleton

_DECODED_AHEAD = 8
"""Photographs a dataset holds at once."""


class Sample(NamedTuple):
    """One sample before collation: the fields of ``PoseBatch`` without the letter B, and without padding."""

    image: Tensor | Source
    """u8 [3, h, w], RGB; in memory [h, w, 3], as it was decoded. Under ``data.warp=device`` what it is sampled from."""
    persons: Persons
    ignore: Tensor
    """bool [ceil(h / 4), ceil(w / 4)]."""
    instance_masks: Tensor | None
    """bool [P, ceil(h / 4), ceil(w / 4)]."""
    meta: Meta


class Opened(NamedTuple):
    """A sample of which the photograph is read."""

    sample: int
    epoch: int | None
    """As in ``Draw``."""
    number: int
    """Of the photograph."""
    photograph: NDArray[np.uint8] | None
    """[H, W, 3], RGB; None where it is skipped."""


class ImageDataset(Dataset[Sample]):
    """Photographs with their people, resized and, in training, augmented.

    Indexed by a ``Draw`` the augmentation is a function of (seed, epoch, index) alone: the same with any number of
    workers, and after a resumed run. Indexed by a number it goes on with the pipeline's own generator.

    People whose box lies outside the input are left out; people without labelled keypoints stay in and are ignored;
    crowds are ignored only. An unreadable photograph raises ``ImageError``, or, with ``OnBadImage.skip``, is marked in
    ``skipped``: training takes the next readable one instead, evaluation a black picture without people under its ids.
    """

    def __init__(
        self, annotations: Annotations, config: DataConfig, skeleton: Skeleton, *, train: bool, seed: int = 0
    ) -> None:
        self.annotations = annotations
        self.config = config
        self.train = train
        self.seed = seed
        self.pipeline = build_pipeline(config, train=train)
        self.flip_permutation = skeleton.flip_permutation
        self.is_labelled = annotations.is_labelled
        self.present = PRESENTED[config.warp]
        self.skipped = torch.zeros(annotations.num_images, dtype=torch.bool).share_memory_()
        """bool [N], shared with the workers: photographs that could not be read so far."""

    def __len__(self) -> int:
        return self.annotations.num_images

    def __getitem__(self, key: int | Draw) -> Sample:
        return self._finish(self._open(key))

    def __getitems__(self, keys: Sequence[int | Draw]) -> list[Sample]:
        """The samples of ``keys``, as one by one. Photographs are decoded a few ahead: decoding drives all else out of
        the processor's caches, and the many small steps of a sample take less than half as long within them.
        """
        samples: list[Sample] = []
        for first in range(0, len(keys), _DECODED_AHEAD):
            opened = [self._open(key) for key in keys[first : first + _DECODED_AHEAD]]
            samples += [self._finish(each) for each in opened]
        return samples

    def _open(self, key: int | Draw) -> Opened:
        index, epoch = key if isinstance(key, tuple) else (key, None)
        return Opened(index, epoch, *self._read(index))

    def _finish(self, opened: Opened) -> Sample:
        self._seed(opened.sample, opened.epoch)
        return self._sample(opened.number, opened.photograph)

    def _seed(self, index: int, epoch: int | None) -> None:
        if epoch is not None:
            entropy = np.random.SeedSequence((self.seed, epoch, index))
            self.pipeline.set_random_seed(int(entropy.generate_state(1)[0]))

    def _read(self, index: int) -> tuple[int, NDArray[np.uint8] | None]:
        """The photograph numbered ``index`` and its number; another one, or None, where it is skipped.

        Raises:
            ImageError: it cannot be read, and is not to be skipped; or none can.
        """
        for step in range(self.annotations.num_images):
            number = (index + step) % self.annotations.num_images
            hw = self.annotations.image_hw[number]
            try:
                expected = (int(hw[0]), int(hw[1]))
                return number, read_photograph(self.annotations.path(number), expected, self.config.max_image_pixels)
            except ImageError:
                if self.config.on_bad_image is OnBadImage.error:
                    raise
                self.skipped[number] = True
                if not self.train:
                    return number, None
        raise ImageError(
            f"{self.annotations.images_dir}: not one of {self.annotations.num_images} photographs can be read"
        )

    def _sample(self, index: int, photograph: NDArray[np.uint8] | None, **targets: Any) -> Sample:
        """``targets`` are what the pipeline needs beside ``start``'s."""
        original_hw = (int(self.annotations.image_hw[index, 0]), int(self.annotations.image_hw[index, 1]))
        is_blank = photograph is None
        drawn = self.pipeline(
            **start(np.zeros((*original_hw, 3), np.uint8) if photograph is None else photograph), **targets
        )
        matrix, hw = drawn["matrix"], (drawn["hw"][0], drawn["hw"][1])
        rows = self.annotations.people(index)
        rows = slice(rows.start, rows.start) if is_blank else rows
        people = warp_people(
            self.annotations.keypoints[rows],
            self.annotations.visibility[rows],
            self.annotations.boxes[rows],
            self.annotations.areas[rows],
            matrix,
            hw,
            self.flip_permutation if drawn["mirrored"] else None,
        )
        has_area = (people.boxes[:, 2:] > people.boxes[:, :2]).all(axis=1)
        kept = np.flatnonzero(has_area & ~self.annotations.is_crowd[rows])
        return Sample(
            image=self.present(drawn["image"], matrix, hw),
            persons=Persons(
                keypoints=torch.from_numpy(people.keypoints[kept]),
                visibility=torch.from_numpy(people.visibility[kept]),
                boxes=torch.from_numpy(people.boxes[kept]),
                areas=torch.from_numpy(people.areas[kept]),
                is_real=torch.ones(len(kept), dtype=torch.bool),
            ),
            ignore=torch.from_numpy(
                np.ones(_quarter(hw), dtype=bool) if is_blank else self._ignore(index, matrix, original_hw, hw)
            ),
            instance_masks=self._masks(kept + rows.start, matrix, original_hw, hw),
            meta=Meta(
                sample_id=torch.tensor(index),
                image_id=torch.tensor(int(self.annotations.image_ids[index])),
                original_hw=torch.tensor(original_hw),
                input_hw=torch.tensor(hw),
                to_original=torch.from_numpy(invert(matrix).astype(np.float32)),
                detection_score=torch.tensor(1.0),
            ),
        )

    def _ignore(
        self, index: int, matrix: Matrix, original_hw: tuple[int, int], hw: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Crowds and people without labelled keypoints, by ``config.ignore_shape``, and what no photograph covers.

        A person whose keypoints were all cut off is not ignored: that they are not in the input is known.
        """
        ignore = np.zeros(_quarter(hw), dtype=bool)
        rows = self.annotations.people(index)
        segments = self.annotations.segments
        for row in (np.flatnonzero(~self.is_labelled[rows]) + rows.start).tolist():
            if self.config.ignore_shape is IgnoreShape.mask and segments.has(row):
                ignore |= segments.draw(row, original_hw, matrix, ignore.shape)
            else:
                _fill_box(ignore, self.annotations.boxes[row], matrix)
        if not covers_frame(matrix, original_hw, hw):
            ignore |= ~covered_cells(compose(matrix, scaling(0.25, 0.25)), original_hw, ignore.shape)
        return ignore

    def _masks(
        self, rows: NDArray[np.int64], matrix: Matrix, original_hw: tuple[int, int], hw: tuple[int, int]
    ) -> Tensor | None:
        if not self.config.instance_masks:
            return None
        masks = np.zeros((len(rows), *_quarter(hw)), dtype=bool)
        for mask, row in zip(masks, rows.tolist(), strict=True):
            mask[:] = self.annotations.segments.draw(row, original_hw, matrix, mask.shape)
        return torch.from_numpy(masks)


def _as_input(image: NDArray[np.uint8], matrix: Matrix, hw: tuple[int, int]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


PRESENTED: dict[WarpPlace, Callable[[NDArray[np.uint8], Matrix, tuple[int, int]], Tensor | Source]] = {
    WarpPlace.worker: _as_input,
    WarpPlace.device: source_of,
}
"""What becomes of a pipeline's image, and its map onto an input of some height and width, in a sample."""


def _quarter(hw: tuple[int, int]) -> tuple[int, int]:
    return -(-hw[0] // 4), -(-hw[1] // 4)


def _fill_box(canvas: NDArray[np.bool_], box: NDArray, matrix: Matrix) -> None:
    fill_polygon(canvas, map_points(matrix, corners(box[None]))[0] / 4.0)
