"""Pads samples of different sizes and numbers of people into one batch, in one piece of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.device_warp import UnwarpedBatch, pack, room_for
from datamodules.geometry import Source
from datamodules.image_dataset import Sample
from datamodules.parcel import BOOL, F32, I64, U8, Parcel, Plan


@dataclass(frozen=True)
class Collate:
    """Callable: samples -> ``PoseBatch``; ``unwarped`` where their images are not made yet.

    Pictures lie at the top left and are padded to the largest of the batch, rounded up; people to the largest number,
    at least 1. Padding is black, ignored and not real. A DataLoader's worker makes a ``Parcel`` that arrives as the
    batch.
    """

    pad_multiple: int
    """Height and width of a batch are multiples of it."""
    min_size: int = 0
    """Height and width of a batch are at least this: the side of a letterbox."""

    def __call__(self, samples: list[Sample]) -> PoseBatch:
        return self.parcel(samples).sent()

    def unwarped(self, samples: list[Sample]) -> UnwarpedBatch:
        """Of samples under ``data.warp=device``."""
        return self.unwarped_parcel(samples).sent()

    def parcel(self, samples: list[Sample]) -> Parcel:
        """What a worker makes of the batch."""
        hw = self._padded_hw(samples)
        plan = Plan()
        parcel = plan.parcel(_room_for(plan, samples, hw, hw))
        _fill(parcel.arrays, samples)
        for row, sample in zip(parcel.arrays.images, samples, strict=True):
            _part_colors(cast(NDArray[np.uint8], sample.image), row)
        return parcel

    def unwarped_parcel(self, samples: list[Sample]) -> Parcel:
        """What a worker makes of ``unwarped``."""
        hw = self._padded_hw(samples)
        sources = [cast(Source, sample.image) for sample in samples]
        plan = Plan()
        memory = samples[0].memory
        if any(sample.memory is not memory for sample in samples):
            memory = None
        photographs = room_for(plan, sources, hw, memory)
        parcel = plan.parcel(UnwarpedBatch(photographs, _room_for(plan, samples, hw, (0, 0))))
        _fill(parcel.arrays.batch, samples)
        pack(sources, parcel.arrays.photographs)
        return parcel

    def _padded_hw(self, samples: list[Sample]) -> tuple[int, int]:
        """The height and width that all inputs are padded to."""
        height, width = (max(sample.meta.input_hw[side] for sample in samples) for side in (0, 1))
        return self._padded(height), self._padded(width)

    def _padded(self, side: int) -> int:
        side = max(side, self.min_size)
        return -(-side // self.pad_multiple) * self.pad_multiple


def _room_for(plan: Plan, samples: list[Sample], hw: tuple[int, int], images_hw: tuple[int, int]) -> Any:
    """``PoseBatch`` of ``Room``s, for inputs of ``hw`` pixels."""
    room, count, quarter = plan.room, len(samples), (-(-hw[0] // 4), -(-hw[1] // 4))
    people = max(1, *(len(sample.persons.areas) for sample in samples))
    joints = samples[0].persons.visibility.shape[1]
    has_masks = samples[0].instance_masks is not None
    return PoseBatch(
        images=room(U8, count, 3, *images_hw),
        persons=Persons(
            keypoints=room(F32, count, people, joints, 2),
            visibility=room(U8, count, people, joints),
            boxes=room(F32, count, people, 4),
            areas=room(F32, count, people),
            is_real=room(BOOL, count, people),
        ),
        ignore=room(BOOL, count, *quarter),
        instance_masks=room(BOOL, count, people, *quarter) if has_masks else None,
        meta=Meta(
            sample_id=room(I64, count),
            image_id=room(I64, count),
            original_hw=room(I64, count, 2),
            input_hw=room(I64, count, 2),
            to_original=room(F32, count, 2, 3),
            detection_score=room(F32, count),
        ),
    )


def _fill(batch: Any, samples: list[Sample]) -> None:
    """All arrays of a ``PoseBatch`` but the images."""
    for values, column in zip(batch.meta, zip(*(sample.meta for sample in samples), strict=True), strict=True):
        values[:] = column
    for values in batch.persons:
        values.fill(0)
    batch.ignore.fill(True)
    for number, sample in enumerate(samples):
        count = len(sample.persons.areas)
        for values, theirs in zip(batch.persons, sample.persons, strict=False):
            values[number, :count] = theirs
        batch.persons.is_real[number, :count] = True
        height, width = (-(-side // 4) for side in sample.meta.input_hw)
        batch.ignore[number, :height, :width] = False if sample.ignore is None else sample.ignore
    if batch.instance_masks is not None:
        batch.instance_masks.fill(False)
        for masks, sample in zip(batch.instance_masks, samples, strict=True):
            theirs = cast(NDArray[np.bool_], sample.instance_masks)
            masks[: theirs.shape[0], : theirs.shape[1], : theirs.shape[2]] = theirs


def _part_colors(image: NDArray[np.uint8], row: NDArray[np.uint8]) -> None:
    """``image`` [h, w, 3] at the origin of ``row`` [3, H, W], black beyond. Colours are parted here and only here."""
    height, right = image.shape[0], row.shape[2] - image.shape[1]
    # Into whole rows: to part colours into parts of rows takes twice as long.
    framed = cv2.copyMakeBorder(image, 0, 0, 0, right, cv2.BORDER_CONSTANT) if right else image
    cv2.split(framed, list(row[:, :height]))
    row[:, height:] = 0
