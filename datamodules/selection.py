"""Which images of a split a run uses, and what it was told to leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.annotation_rules import Complaint
from datamodules.annotations import AnnotationError, Annotations, read_annotations
from datamodules.config import DataConfig, OnBadImage
from datamodules.photograph_checks import missing_photographs, unreadable_photographs
from datamodules.skeleton import Skeleton


def training_annotations(root: Path, config: DataConfig, skeleton: Skeleton) -> Annotations:
    """The images of ``train_split`` to train on: those named, that show a labelled person, and whose file is there.

    Raises:
        ValueError: an entry or a photograph is not usable and not to be left out, or nothing remains.
    """
    annotations = _read(root, config.train_split, config, skeleton, config.train_image_ids)
    if not config.train_without_people:
        annotations = annotations.select(np.flatnonzero(annotations.labelled_per_image > 0))
    annotations = _present(_first(annotations, config.limit_train), config)
    if annotations.num_images == 0:
        raise ValueError(
            f"{annotations.file}: no image to train on shows a person with labelled keypoints; "
            "check data.train_split, data.train_image_ids and data.limit_train, or set "
            "data.train_without_people=true"
        )
    return annotations


def validation_annotations(root: Path, config: DataConfig, skeleton: Skeleton) -> Annotations:
    """The images of ``val_split`` to evaluate: those named whose file is there, with and without people.

    Raises:
        ValueError: as ``training_annotations``.
    """
    annotations = _read(root, config.val_split, config, skeleton, config.val_image_ids)
    annotations = _present(_first(annotations, config.limit_val), config)
    if config.on_bad_image is OnBadImage.skip:
        # Which images are scored is known before the first is, and is the same on every rank.
        annotations = _without(annotations, *unreadable_photographs(annotations, config.max_image_pixels))
    if annotations.num_images == 0:
        raise ValueError(f"{annotations.file}: no image to evaluate; check data.val_split and data.val_image_ids")
    return annotations


def count_faults(annotations: Annotations) -> dict[str, int]:
    """How many entries of each kind were ``dropped`` (``images_dropped``, ``annotations_dropped``) or ``repaired``."""
    dropped = [complaint.kind for complaint in annotations.complaints if complaint.severity == "error"]
    return {
        "images_dropped": dropped.count("image"),
        "annotations_dropped": len(dropped) - dropped.count("image"),
        "repaired": len(annotations.complaints) - len(dropped),
    }


TEST_IMAGES = {"test-dev2017": "test2017", "test-challenge2017": "test2017"}
"""Folders of COCO's splits that are a part of another's images, and have no people in their annotations."""


def annotation_file(root: Path, split: str) -> Path:
    """COCO's file of a split; of a test split, where nobody is annotated, the list of its images."""
    kind = "image_info" if split in (*TEST_IMAGES, *TEST_IMAGES.values()) else "person_keypoints"
    return root / "annotations" / f"{kind}_{split}.json"


def images_folder(root: Path, split: str) -> Path:
    """COCO's folder of a split's photographs."""
    return root / TEST_IMAGES.get(split, split)


def _read(root: Path, split: str, config: DataConfig, skeleton: Skeleton, image_ids: list[int] | None) -> Annotations:
    file, images_dir = annotation_file(root, split), images_folder(root, split)
    return read_annotations(file, images_dir, skeleton, on_bad=config.on_bad_annotation, image_ids=image_ids)


def _present(annotations: Annotations, config: DataConfig) -> Annotations:
    """The images whose file is there."""
    missing, complaints = missing_photographs(annotations)
    if complaints and config.on_bad_image is OnBadImage.error:
        raise AnnotationError(complaints)
    return _without(annotations, missing, complaints)


def _first(annotations: Annotations, limit: int | None) -> Annotations:
    return annotations if limit is None else annotations.select(np.arange(min(limit, annotations.num_images)))


def _without(annotations: Annotations, numbers: NDArray[np.int64], complaints: list[Complaint]) -> Annotations:
    return annotations.select(np.setdiff1d(np.arange(annotations.num_images), numbers), tuple(complaints))
