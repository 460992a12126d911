"""A trained module asked about photographs: people of each, as an evaluation would count them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.coco import normalize
from datamodules.config import DataConfig
from datamodules.contracts import PoseBatch, Predictions, last_stage
from datamodules.geometry import Matrix
from datamodules.image_dataset import Sample
from datamodules.results import Suppress, best_rows, person_areas, to_host
from datamodules.skeleton import Skeleton
from datamodules.unlabelled import UnlabelledSamples
from lightning_modules.shared.inference_form import inference_form, memory_format_of

Overlay = Callable[[Any, PoseBatch], torch.Tensor]
"""(module, normalised batch) -> maps f32 [B, C, h, w] over the input: a channel in [0, 1], or two of a field."""


class Maps(NamedTuple):
    """What is to be laid over a photograph."""

    values: NDArray[np.float32]
    """[C, h, w]."""
    to_original: Matrix
    """[2, 3], cells of the map -> photograph pixels."""


class People(NamedTuple):
    """The people of one sample or photograph, in the photograph's continuous pixels."""

    keypoints: NDArray[np.float32]
    """[n, K, 3], x, y, score."""
    scores: NDArray[np.float32]
    """[n]."""
    areas: NDArray[np.float32]
    """[n], as ``Predictions.areas``."""
    boxes: NDArray[np.float32] | None
    """[n, 4], x0 y0 x1 y1, where predicted or given."""
    masks: list[NDArray[np.bool_]] | None
    """n at the photograph's size, where predicted."""
    maps: tuple[Maps, ...] = ()


class Estimator:
    """Callable: samples -> their people. Preprocessing, test scales, mirror image and precision are the evaluation's.

    Args:
        module: in eval mode; its network is changed to ``inference_form``.
        data: of the run.
        skeleton: of the run.
        device: to compute on.
        precision: the run's ``trainer.precision``; mixed ones compute under autocast.
        overlay: maps to compute besides, by a second pass of the network.
        as_trained: leave the network as it is; slower, for comparison.
    """

    def __init__(
        self,
        module: Any,
        data: DataConfig,
        skeleton: Skeleton,
        *,
        device: torch.device,
        precision: str = "32-true",
        overlay: Overlay | None = None,
        as_trained: bool = False,
    ) -> None:
        self.module = module.to(device)
        self.format = torch.contiguous_format
        if not as_trained:
            self.module.network = inference_form(module.network)
            self.format = memory_format_of(module.network)
        self.device = device
        self.precision = precision
        self.overlay = overlay
        self.skeleton = skeleton
        self.make_samples = UnlabelledSamples(data, skeleton, from_bgr=True)
        self.collate = self.make_samples.collate()
        self.mean, self.std = (torch.tensor(values, device=device) for values in (data.mean, data.std))
        self.suppress: Suppress | None = getattr(module, "suppress", None)

    def prepare(self, samples: Sequence[Sample]) -> PoseBatch:
        """Host work before ``compute``: the samples as one batch, pinned where it is to be copied to a GPU."""
        batch = self.collate(list(samples))
        return batch._replace(images=batch.images.pin_memory()) if self.device.type == "cuda" else batch

    @torch.no_grad()
    def compute(self, prepared: PoseBatch) -> list[People]:
        """The finite, valid people of each sample of a batch."""
        batch = self._on_device(prepared)
        with self._autocast():
            predictions = last_stage(self.module.predict(batch))
            maps = None if self.overlay is None else self.overlay(self.module, batch).float().cpu().numpy()
        return [
            people._replace(maps=() if maps is None else (_place(maps[row], prepared, row),))
            for row, people in enumerate(_rows(predictions))
        ]

    def __call__(self, samples: Sequence[Sample]) -> list[People]:
        """The finite, valid people of each sample; none of no sample."""
        return self.compute(self.prepare(samples)) if samples else []

    def merge(self, parts: Sequence[People]) -> People:
        """The people of a photograph out of those of its samples: duplicates left out, the best 20, best first."""
        if not parts:
            empty = np.zeros((0, self.skeleton.num_keypoints, 3), np.float32)
            return People(empty, np.zeros(0, np.float32), np.zeros(0, np.float32), None, None)
        keypoints = np.concatenate([part.keypoints for part in parts])
        scores = np.concatenate([part.scores for part in parts])
        areas = np.concatenate([part.areas for part in parts])
        boxes = None if parts[0].boxes is None else np.concatenate([part.boxes for part in parts])
        rows = best_rows(keypoints, scores, areas, self.suppress)
        masks = None if parts[0].masks is None else [mask for part in parts for mask in part.masks or []]
        return People(
            keypoints[rows],
            scores[rows],
            areas[rows],
            None if boxes is None else boxes[rows],
            None if masks is None else [masks[row] for row in rows],
            tuple(maps for part in parts for maps in part.maps),
        )

    def _on_device(self, batch: PoseBatch) -> PoseBatch:
        batch = PoseBatch(
            batch.images.to(self.device, non_blocking=True),
            type(batch.persons)(*(value.to(self.device) for value in batch.persons)),
            batch.ignore.to(self.device),
            None,
            type(batch.meta)(*(value.to(self.device) for value in batch.meta)),
        )
        images = normalize(batch.images, batch.meta.input_hw, self.mean, self.std)
        return batch._replace(images=images.contiguous(memory_format=self.format))

    def _autocast(self) -> AbstractContextManager[Any]:
        kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        kind = kinds.get(self.precision)
        return nullcontext() if kind is None else torch.autocast(self.device.type, kind)


def _rows(predictions: Predictions) -> list[People]:
    keypoints, scores, is_valid, _, _ = to_host(predictions)
    kept = is_valid & np.isfinite(scores) & np.isfinite(keypoints).all(axis=(2, 3))
    areas = person_areas(predictions)
    boxes = None if predictions.boxes is None else predictions.boxes.float().cpu().numpy()
    return [
        People(
            keypoints[row, kept[row]],
            scores[row, kept[row]],
            areas[row, kept[row]],
            None if boxes is None else boxes[row, kept[row]],
            None if predictions.masks is None else _masks(predictions.masks[row], kept[row]),
        )
        for row in range(len(keypoints))
    ]


def _masks(masks: tuple[torch.Tensor, ...], kept: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    return [mask.cpu().numpy() for mask, stays in zip(masks, kept[: len(masks)].tolist(), strict=True) if stays]


def _place(values: NDArray[np.float32], batch: PoseBatch, row: int) -> Maps:
    """The maps of one sample without what lies beyond its image, and the way from their cells to the photograph."""
    height, width = batch.images.shape[-2:]
    rows, columns = values.shape[-2:]
    step_y, step_x = height / rows, width / columns
    hw = batch.meta.input_hw[row].tolist()
    inside = values[:, : -(-hw[0] // max(int(step_y), 1)), : -(-hw[1] // max(int(step_x), 1))]
    to_original = batch.meta.to_original[row].double().numpy() * np.array([step_x, step_y, 1.0])
    return Maps(np.ascontiguousarray(inside, dtype=np.float32), to_original)
