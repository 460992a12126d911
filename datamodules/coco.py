"""The one Lightning datamodule: COCO folders (or rendered people in their place) to normalised batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from datamodules.augmentation import fill_of
from datamodules.collate import Collate
from datamodules.config import DataConfig, Resize, View, WarpPlace
from datamodules.contracts import PoseBatch
from datamodules.device_warp import UnwarpedBatch, is_inside, warp_batch
from datamodules.host_memory import keep_freed_memory
from datamodules.image_dataset import ImageDataset
from datamodules.sampler import EpochSampler
from datamodules.selection import annotation_file, count_faults, training_annotations, validation_annotations
from datamodules.skeleton import Skeleton
from datamodules.views import build_dataset
from datamodules.workers import WorkerLoader, heed_only_the_parent


class Colors(NamedTuple):
    """f32 [3] each, RGB."""

    mean: Tensor
    """Of images in [0, 1]."""
    std: Tensor
    fill: Tensor
    """Of what lies outside a photograph, in [0, 255]."""


class CocoDataModule(pl.LightningDataModule):
    """Training and validation samples of a folder in COCO's layout.

    Args:
        config: see ``DataConfig``.
        skeleton: the keypoints the annotations must have.
        seed: of the order of samples and their augmentation.

    Raises:
        ValueError: a value of ``config`` makes no sense.
    """

    def __init__(self, config: DataConfig, skeleton: Skeleton, seed: int = 0) -> None:
        super().__init__()
        config.validate()
        self.config = config
        self.skeleton = skeleton
        self.seed = seed
        self.train_set: ImageDataset | None = None
        self.val_set: ImageDataset | None = None
        self.resumes_at = (0, 0)
        """Epoch in which training goes on, and how many of its batches are done. Set it before ``fit``: papers ask for
        the number of steps, which makes the loader, before Lightning restores its loops."""
        self._colors_on: dict[torch.device, Colors] = {}

    @property
    def root(self) -> Path:
        """The folder the data lie in.

        Raises:
            ValueError: neither ``data.root`` nor ``data.rendered`` is given.
        """
        if self.config.root is not None:
            return Path(self.config.root)
        if self.config.rendered is None:
            raise ValueError(
                "data.root is not set: give the folder that holds COCO's annotations/ and images, as in "
                "data.root=/datasets/coco, or use a preset with rendered people"
            )
        from datamodules.synthetic import rendered_root

        return rendered_root(self.config.rendered)

    @property
    def val_annotation_file(self) -> Path:
        return annotation_file(self.root, self.config.val_split)

    @property
    def val_image_ids(self) -> list[int]:
        """Ids of the images to evaluate, after ``setup``."""
        return _ready(self.val_set).annotations.image_ids.tolist()

    @property
    def val_known_ids(self) -> frozenset[int]:
        """Ids of all images of the validation split, evaluated or not, after ``setup``."""
        return _ready(self.val_set).annotations.known_ids

    @property
    def val_people_are_given(self) -> bool:
        """Whether each validation sample is one labelled person, cut out around the ground truth's box."""
        return self.config.view is View.person and self.config.detections.file is None

    @property
    def faults(self) -> dict[str, dict[str, int]]:
        """For a run's record: ``train`` and ``val``, where set up -> how many entries were dropped and repaired, and
        how many photographs were skipped so far in this process and its workers.
        """
        sets = {"train": self.train_set, "val": self.val_set}
        return {
            name: {**count_faults(dataset.annotations), "photographs_skipped": int(dataset.skipped.sum())}
            for name, dataset in sets.items()
            if dataset is not None
        }

    def prepare_data(self) -> None:
        if self.config.root is None and self.config.rendered is not None:
            from datamodules.synthetic import make_dataset

            make_dataset(self.root, self.config.rendered, progress=True)

    def setup(self, stage: str | None = None) -> None:
        """Read and check the annotations. ``stage`` None or ``fit`` makes both sets, any other the validation set.

        Raises:
            ValueError: the folder, an annotation or a photograph is not usable, or no sample remains; see ``config``
                for what is dropped instead.
        """
        if stage in (None, "fit") and self.train_set is None:
            annotations = training_annotations(self.root, self.config, self.skeleton)
            self.train_set = build_dataset(annotations, self.config, self.skeleton, train=True, seed=self.seed)
        if self.val_set is None:
            annotations = validation_annotations(self.root, self.config, self.skeleton)
            self.val_set = build_dataset(annotations, self.config, self.skeleton, train=False, seed=self.seed)
        for name, counts in self.faults.items():
            if any(counts.values()):
                told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count)
                rank_zero_warn(f"{name} data: {told}; named by: python -m experiments.data check --root {self.root}")

    def train_dataloader(self) -> DataLoader[Any]:
        dataset = _ready(self.train_set)
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        sampler = EpochSampler(len(dataset), self.seed, world, rank)
        epoch, batches = self.resumes_at
        sampler.start_at(epoch, batches * self.config.batch_size)
        return self._loader(
            dataset,
            batch_size=self.config.batch_size,
            sampler=sampler,
            # choice: the last, smaller batch is left out, unless it is the only one.
            drop_last=len(sampler) >= self.config.batch_size,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(_ready(self.val_set), batch_size=self.config.val_batch_size, shuffle=False)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()

    def on_after_batch_transfer(self, batch: PoseBatch | UnwarpedBatch, dataloader_idx: int) -> PoseBatch:
        """Warp on the device where the workers did not, and normalise there: u8 -> f32, ``(x / 255 - mean) / std``,
        exactly 0 on padding.
        """
        if isinstance(batch, UnwarpedBatch):
            batch = warp_batch(batch, self._colors(batch.batch.images.device).fill)
        if batch.images.is_floating_point():
            return batch
        colors = self._colors(batch.images.device)
        return batch._replace(images=normalize(batch.images, batch.meta.input_hw, colors.mean, colors.std))

    def _colors(self, device: torch.device) -> Colors:
        if device not in self._colors_on:
            values = (self.config.mean, self.config.std, [float(value) for value in fill_of(self.config)])
            self._colors_on[device] = Colors(*(torch.tensor(value, device=device) for value in values))
        return self._colors_on[device]

    def _loader(self, dataset: ImageDataset, **options: Any) -> DataLoader[Any]:
        workers = self.config.num_workers
        collate = Collate(self.config.pad_multiple, self._min_size(dataset.train))
        return WorkerLoader(
            dataset,
            collate_fn=collate if self.config.warp is WarpPlace.worker else collate.unwarped,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            timeout=self.config.worker_timeout if workers > 0 else 0,
            worker_init_fn=start_worker,
            generator=torch.Generator().manual_seed(self.seed),  # torch's own is the model's: resumption is exact
            **options,
        )

    def _min_size(self, train: bool) -> int:
        of_crops = self.config.view is View.person or (train and self.config.view is View.main_person)
        return 0 if of_crops or self.config.resize is Resize.shorter_side else self.config.size


def normalize(images: Tensor, input_hw: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``(images / 255 - mean) / std`` in f32, exactly 0 outside ``input_hw``.

    ``images`` u8 [B, 3, H, W]; ``input_hw`` i64 [B, 2]; ``mean`` and ``std`` f32 [3], of images in [0, 1].
    """
    normalized = (images.float() / 255.0 - mean[:, None, None]) / std[:, None, None]
    return normalized.masked_fill_(~is_inside(input_hw, images.shape[2], images.shape[3]), 0.0)


def start_worker(worker: int) -> None:
    """OpenCV keeps to one thread, and memory is kept; pipelines draw differently in each worker and epoch.

    Signals to the whole process group are left to the main process.
    """
    cv2.setNumThreads(0)
    keep_freed_memory()
    info = get_worker_info()
    if info is not None:
        heed_only_the_parent()
        dataset: Any = info.dataset
        dataset.pipeline.set_random_seed(torch.initial_seed() % 2**32)


def _ready(dataset: ImageDataset | None) -> ImageDataset:
    if dataset is None:
        raise RuntimeError("call setup() first")
    return dataset
