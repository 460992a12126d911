"""Pads samples of different sizes and numbers of people into one batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import torch
from torch import Tensor

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.device_warp import UnwarpedBatch, pack
from datamodules.geometry import Source
from datamodules.host_memory import empty_for_trainer
from datamodules.image_dataset import Sample


@dataclass(frozen=True)
class Collate:
    """Callable: samples -> ``PoseBatch``; ``unwarped`` where their images are not made yet.

    Pictures lie at the top left and are padded to the largest of the batch, rounded up; people to the largest number,
    at least 1. Padding is black, ignored and not real.
    """

    pad_multiple: int
    """Height and width of a batch are multiples of it."""
    min_size: int = 0
    """Height and width of a batch are at least this: the side of a letterbox."""

    def __call__(self, samples: list[Sample]) -> PoseBatch:
        meta, hw = self._frame(samples)
        images = _stack_images([cast(Tensor, sample.image) for sample in samples], *hw)
        return _collate(samples, meta, images, hw)

    def unwarped(self, samples: list[Sample]) -> UnwarpedBatch:
        """Of samples under ``data.warp=device``."""
        meta, hw = self._frame(samples)
        photographs = pack([cast(Source, sample.image) for sample in samples], hw)
        return UnwarpedBatch(photographs, _collate(samples, meta, torch.empty(len(samples), 3, 0, 0).byte(), hw))

    def _frame(self, samples: list[Sample]) -> tuple[Meta, tuple[int, int]]:
        """Where the samples come from, and the height and width that all their inputs are padded to."""
        meta = Meta(*(torch.stack(values) for values in zip(*(sample.meta for sample in samples), strict=True)))
        height, width = meta.input_hw.amax(dim=0).tolist()
        return meta, (self._padded(height), self._padded(width))

    def _padded(self, side: int) -> int:
        side = max(side, self.min_size)
        return -(-side // self.pad_multiple) * self.pad_multiple


def _collate(samples: list[Sample], meta: Meta, images: Tensor, hw: tuple[int, int]) -> PoseBatch:
    quarter = (-(-hw[0] // 4), -(-hw[1] // 4))
    people = max(1, *(len(sample.persons.is_real) for sample in samples))
    masks = [sample.instance_masks for sample in samples if sample.instance_masks is not None]
    return PoseBatch(
        images=images,
        persons=_collate_persons([sample.persons for sample in samples], people),
        ignore=_stack([sample.ignore for sample in samples], quarter, True),
        instance_masks=_stack(masks, (people, *quarter)) if masks else None,
        meta=meta,
    )


def _stack_images(images: list[Tensor], height: int, width: int) -> Tensor:
    """u8 [B, 3, height, width]. Colours that lie side by side, as decoded, are parted here and only here."""
    batch = empty_for_trainer((len(images), 3, height, width), torch.uint8)
    for row, image in zip(batch, images, strict=True):
        pixels = image.permute(1, 2, 0)
        if pixels.is_contiguous():  # several times faster than a transposed copy
            down, right = height - pixels.shape[0], width - pixels.shape[1]
            framed = cv2.copyMakeBorder(pixels.numpy(), 0, down, 0, right, cv2.BORDER_CONSTANT)
            cv2.split(framed, list(row.numpy()))
        else:
            row.zero_()
            row[:, : image.shape[1], : image.shape[2]] = image
    return batch


def _collate_persons(persons: list[Persons], people: int) -> Persons:
    return Persons(*(_stack(list(values), (people, *values[0].shape[1:])) for values in zip(*persons, strict=True)))


def _stack(tensors: list[Tensor], shape: tuple[int, ...], fill: float | bool = 0) -> Tensor:
    """``tensors`` at the origin of [len(tensors), *shape], the rest ``fill``."""
    batch = torch.full((len(tensors), *shape), fill, dtype=tensors[0].dtype)
    for row, tensor in zip(batch, tensors, strict=True):
        row[tuple(slice(side) for side in tensor.shape)] = tensor
    return batch
