"""The whole-image view: one sample is one photograph with all its people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.annotations import Annotations
from datamodules.augmentation import averages_areas, build_pipeline, start
from datamodules.config import DataConfig, OnBadImage, View, WarpPlace
from datamodules.device_warp import memory_for, put
from datamodules.geometry import Matrix, Source, invert, source_of
from datamodules.ignore_map import ignore_map
from datamodules.people import People, Placed, warp_people
from datamodules.photographs import ImageError, read_photograph
from datamodules.sampler import Draw
from datamodules.skeleton import Skeleton

_DECODED_AHEAD = 8
"""Photographs a dataset holds at once."""


class SampleMeta(NamedTuple):
    """Of one sample what ``contracts.Meta`` is of a batch."""

    sample_id: int
    image_id: int
    original_hw: tuple[int, int]
    input_hw: tuple[int, int]
    to_original: Matrix
    detection_score: float


class Sample(NamedTuple):
    """One sample before collation, without padding; NumPy's arrays, as tensors of this size cost more than they do."""

    image: NDArray[np.uint8] | Source
    """[h, w, 3], RGB; under ``data.warp=device`` what it is sampled from."""
    persons: People
    """All real."""
    ignore: NDArray[np.bool_] | None
    """[ceil(h / 4), ceil(w / 4)]; None where nothing is ignored."""
    instance_masks: NDArray[np.bool_] | None
    """[N, ceil(h / 4), ceil(w / 4)] where the paper asks for it."""
    meta: SampleMeta
    memory: Tensor | None = None
    """u8 [N, 3], where the pixels of a ``Source`` lie in that of a batch."""


class Opened(NamedTuple):
    """A sample of which the photograph is read."""

    sample: int
    epoch: int | None
    """As in ``Draw``."""
    number: int
    """Of the photograph."""
    photograph: NDArray[np.uint8] | None
    """[H, W, 3], RGB; None where it is skipped."""
    place: NDArray[np.uint8] | None
    """[H, W, 3], where it would best lie."""


class Drawn(NamedTuple):
    """A sample of which the image is made, or what it will be sampled from."""

    sample: int
    number: int
    """Of the photograph."""
    image: NDArray[np.uint8] | Source
    placed: Placed
    is_blank: bool
    """There was no photograph to be had."""
    is_in_place: bool
    """The image lies in the place that was given."""


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
        self.is_person, self.is_unlabelled = ~annotations.is_crowd, ~annotations.is_labelled
        self.skipped = torch.zeros(annotations.num_images, dtype=torch.bool).share_memory_()
        """bool [N], shared with the workers: photographs that could not be read so far."""

    def __len__(self) -> int:
        return self.annotations.num_images

    def __getitem__(self, key: int | Draw) -> Sample:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[int | Draw]) -> list[Sample]:
        """The samples of ``keys``, as one by one. Photographs are decoded a few ahead: decoding drives all else out of
        the processor's caches, and the many small steps of a sample take less than half as long within them.
        """
        memory, places = self._places(keys)
        drawn: list[Drawn] = []
        for first in range(0, len(keys), _DECODED_AHEAD):
            part = slice(first, first + _DECODED_AHEAD)
            opened = [self._open(key, place) for key, place in zip(keys[part], places[part], strict=True)]
            drawn += [self._draw(each) for each in opened]
        samples = self._finish(drawn)
        if memory is None or not all(each.is_in_place for each in drawn):
            return samples
        return [sample._replace(memory=memory) for sample in samples]

    def _places(self, keys: Sequence[int | Draw]) -> tuple[Tensor | None, list[NDArray[np.uint8] | None]]:
        """Memory for the photographs of ``keys``, where inputs show most of them and are not made here."""
        if self.config.warp is WarpPlace.worker or self.config.view is View.person:
            return None, [None] * len(keys)
        return memory_for(self.annotations.image_hw[[self._number(_sample_of(key)) for key in keys]])

    def _number(self, sample: int) -> int:
        """Of the photograph of ``sample``."""
        return sample

    def _open(self, key: int | Draw, place: NDArray[np.uint8] | None = None) -> Opened:
        sample, epoch = key if isinstance(key, tuple) else (key, None)
        return Opened(sample, epoch, *self._read(self._number(sample), place), place)

    def _draw(self, opened: Opened) -> Drawn:
        self._seed(opened.sample, opened.epoch)
        return self._drawn(opened, opened.number)

    def _seed(self, index: int, epoch: int | None) -> None:
        if epoch is not None:
            entropy = np.random.SeedSequence((self.seed, epoch, index))
            self.pipeline.set_random_seed(int(entropy.generate_state(1)[0]))

    def _read(self, index: int, place: NDArray[np.uint8] | None = None) -> tuple[int, NDArray[np.uint8] | None]:
        """The photograph numbered ``index``, in ``place``, and its number; another one, or None, where it is skipped.

        Raises:
            ImageError: it cannot be read, and is not to be skipped; or none can.
        """
        for step in range(self.annotations.num_images):
            number = (index + step) % self.annotations.num_images
            height, width = self.annotations.image_hw[number].tolist()
            try:
                path, most = self.annotations.path(number), self.config.max_image_pixels
                return number, read_photograph(path, (height, width), most, None if step else place)
            except ImageError:
                if self.config.on_bad_image is OnBadImage.error:
                    raise
                self.skipped[number] = True
                if not self.train:
                    return number, None
        raise ImageError(
            f"{self.annotations.images_dir}: not one of {self.annotations.num_images} photographs can be read"
        )

    def _drawn(self, opened: Opened, sample: int, **targets: Any) -> Drawn:
        """``targets`` are what the pipeline needs beside ``start``'s. A blank is as large as its photograph."""
        photograph = opened.photograph
        if photograph is None:
            photograph = np.zeros((*self.annotations.image_hw[opened.number], 3), np.uint8)
        drawn = self.pipeline(**start(photograph), **targets)
        placed = Placed(drawn["matrix"], drawn["hw"], drawn["mirrored"])
        image, is_in_place = self._presented(drawn["image"], placed, opened.place)
        return Drawn(sample, opened.number, image, placed, opened.photograph is None, is_in_place)

    def _presented(
        self, image: NDArray[np.uint8], placed: Placed, place: NDArray[np.uint8] | None = None
    ) -> tuple[NDArray[np.uint8] | Source, bool]:
        """What becomes of a pipeline's image in a sample, and whether it is in ``place``."""
        if self.config.warp is WarpPlace.worker:
            return image, False
        source = source_of(image, placed.matrix, placed.hw, averages_areas=averages_areas(self.config))
        return put(source, image, place)

    def _finish(self, drawn: list[Drawn]) -> list[Sample]:
        """People outside the input are left out here, and crowds."""
        spans = [self._rows(each) for each in drawn]
        rows = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        which = np.repeat(np.arange(len(drawn)), [span.stop - span.start for span in spans])
        people = warp_people(self._people(rows), which, [each.placed for each in drawn], self.flip_permutation)
        kept = np.flatnonzero((people.boxes[:, 2:] > people.boxes[:, :2]).all(axis=1) & self.is_person[rows])
        people, rows = people.select(kept), rows[kept]
        ends = np.searchsorted(which[kept], np.arange(len(drawn)), side="right").tolist()
        parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        return [self._sample(each, people.select(part), rows[part]) for each, part in zip(drawn, parts, strict=True)]

    def _rows(self, drawn: Drawn) -> slice:
        rows = self.annotations.people(drawn.number)
        return slice(rows.start, rows.start) if drawn.is_blank else rows

    def _people(self, rows: NDArray[np.int64]) -> People:
        annotations = self.annotations
        return People(annotations.keypoints, annotations.visibility, annotations.boxes, annotations.areas).select(rows)

    def _sample(self, drawn: Drawn, persons: People, rows: NDArray[np.int64]) -> Sample:
        """``rows`` are the annotations of ``persons``."""
        matrix, hw, _ = drawn.placed
        height, width = self.annotations.image_hw[drawn.number].tolist()
        return Sample(
            image=drawn.image,
            persons=persons,
            ignore=np.ones(_quarter(hw), dtype=bool) if drawn.is_blank else self._ignore(drawn, (height, width)),
            instance_masks=self._masks(rows, matrix, (height, width), hw),
            meta=SampleMeta(
                sample_id=drawn.sample,
                image_id=int(self.annotations.image_ids[drawn.number]),
                original_hw=(height, width),
                input_hw=hw,
                to_original=invert(matrix),
                detection_score=1.0,
            ),
        )

    def _ignore(self, drawn: Drawn, original_hw: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Of crowds and people without labelled keypoints, by ``config.ignore_shape``, and what no photograph covers.

        A person whose keypoints were all cut off is not ignored: that they are not in the input is known.
        """
        people = self.annotations.people(drawn.number)
        rows = np.flatnonzero(self.is_unlabelled[people]) + people.start
        shape = self.config.ignore_shape
        return ignore_map(self.annotations, rows, shape, drawn.placed.matrix, original_hw, drawn.placed.hw)

    def _masks(
        self, rows: NDArray[np.int64], matrix: Matrix, original_hw: tuple[int, int], hw: tuple[int, int]
    ) -> NDArray[np.bool_] | None:
        if not self.config.instance_masks:
            return None
        masks = np.zeros((len(rows), *_quarter(hw)), dtype=bool)
        for mask, row in zip(masks, rows.tolist(), strict=True):
            mask[:] = self.annotations.segments.draw(row, original_hw, matrix, mask.shape)
        return masks


def _sample_of(key: int | Draw) -> int:
    return key[0] if isinstance(key, tuple) else key


def _quarter(hw: tuple[int, int]) -> tuple[int, int]:
    return -(-hw[0] // 4), -(-hw[1] // 4)
