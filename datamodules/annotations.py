"""COCO keypoint annotations as validated columns: numpy arrays that DataLoader workers share without copying."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.annotation_file import AnnotationError, of_file, parse_lists, read_bytes, size_and_digest
from datamodules.annotation_rules import Complaint, image_columns, person_category
from datamodules.array_cache import alone_with, load_arrays, store_arrays
from datamodules.config import OnBadAnnotation
from datamodules.person_rules import person_columns
from datamodules.segments import Segments
from datamodules.skeleton import Skeleton

_WORTH_CACHING = 1 << 20
"""Bytes of JSON below which reading it again is as fast."""
_TAKES_SECONDS = 50 << 20
"""Bytes of JSON from which reading is announced on stderr."""
_RULES = ("annotations.py", "annotation_rules.py", "person_rules.py", "segments.py")
"""What decides the columns of a file: a change of any of these forgets every cached one."""


class Annotations(NamedTuple):
    """The people of one annotation file. N images in the file's order, M people grouped by image, K keypoints."""

    file: Path
    images_dir: Path
    image_ids: NDArray[np.int64]
    """[N]."""
    image_hw: NDArray[np.int64]
    """[N, 2], annotated height and width."""
    file_names: NDArray[np.bytes_]
    """[N], UTF-8, relative to ``images_dir`` and inside it."""
    offsets: NDArray[np.int64]
    """[N + 1]: image n has the people ``offsets[n] : offsets[n + 1]``."""
    ids: NDArray[np.int64]
    """[M], annotation ids."""
    keypoints: NDArray[np.float32]
    """[M, K, 2], continuous coordinates (COCO's pixel indices + 0.5); zero where ``visibility`` is 0."""
    visibility: NDArray[np.uint8]
    """[M, K], in {0, 1, 2}."""
    boxes: NDArray[np.float32]
    """[M, 4], x0 y0 x1 y1, inside the photograph and with an area."""
    areas: NDArray[np.float32]
    """[M], COCO's segment area, pixels squared, positive."""
    is_crowd: NDArray[np.bool_]
    """[M]."""
    segments: Segments
    """M entries."""
    complaints: tuple[Complaint, ...] = ()
    """What was dropped or repaired."""
    category_id: int = 1
    """Of ``person`` in the file."""
    known_ids: frozenset[int] = frozenset()
    """Of every image of the file, selected or not."""

    @property
    def num_images(self) -> int:
        return len(self.image_ids)

    def people(self, image: int) -> slice:
        """The rows of the people (and crowds) in image number ``image``."""
        return slice(int(self.offsets[image]), int(self.offsets[image + 1]))

    def path(self, image: int) -> Path:
        return self.images_dir / self.file_names[image].decode()

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """[M]: a person, no crowd, with at least one labelled keypoint."""
        return ~self.is_crowd & (self.visibility > 0).any(axis=1)

    @property
    def labelled_per_image(self) -> NDArray[np.int64]:
        """[N]: how many labelled people each image shows."""
        return np.diff(np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.is_labelled)])[self.offsets])

    def select(self, images: NDArray[np.int64], complaints: tuple[Complaint, ...] = ()) -> Annotations:
        """The images numbered ``images`` with their people, in that order; ``complaints`` are added."""
        if np.array_equal(images, np.arange(self.num_images)):  # no copy of what processes share
            return self._replace(complaints=(*self.complaints, *complaints))
        counts = np.diff(self.offsets)[images]
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        rows = np.repeat(self.offsets[images] - offsets[:-1], counts) + np.arange(offsets[-1])
        return self._replace(
            image_ids=self.image_ids[images],
            image_hw=self.image_hw[images],
            file_names=self.file_names[images],
            offsets=offsets,
            ids=self.ids[rows],
            keypoints=self.keypoints[rows],
            visibility=self.visibility[rows],
            boxes=self.boxes[rows],
            areas=self.areas[rows],
            is_crowd=self.is_crowd[rows],
            segments=self.segments.select(rows),
            complaints=(*self.complaints, *complaints),
        )

    def to_arrays(self) -> dict[str, NDArray]:
        """All fields but the two paths as arrays without Python objects."""
        plain = {name: value for name, value in self._asdict().items() if isinstance(value, np.ndarray)}
        texts = [complaint._replace(file="") for complaint in self.complaints]
        return {
            **plain,
            **{f"segments.{name}": value for name, value in self.segments._asdict().items()},
            "complaints": np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8),
            "category_id": np.array(self.category_id),
            "known_ids": np.array(sorted(self.known_ids), dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray], file: Path, images_dir: Path) -> Annotations:
        """What ``to_arrays`` was made of, now of ``file`` and ``images_dir``."""
        derived = {"file", "images_dir", "segments", "complaints", "category_id", "known_ids"}
        return cls(
            file=file,
            images_dir=images_dir,
            **{name: arrays[name] for name in cls._fields if name not in derived},
            segments=Segments(*(arrays[f"segments.{name}"] for name in Segments._fields)),
            complaints=tuple(
                Complaint(*texts)._replace(file=str(file)) for texts in json.loads(arrays["complaints"].tobytes())
            ),
            category_id=int(arrays["category_id"]),
            known_ids=frozenset(arrays["known_ids"].tolist()),
        )


def read_annotations(
    file: Path,
    images_dir: Path,
    skeleton: Skeleton,
    *,
    on_bad: OnBadAnnotation = OnBadAnnotation.error,
    image_ids: list[int] | None = None,
) -> Annotations:
    """Read and validate a COCO keypoint file. Categories other than ``person`` are left out.

    The columns of a large file are kept in the user's cache folder under a hash of its bytes and of the rules they
    were read by, so that it is parsed and validated once.

    Repaired and counted (``complaints`` of severity ``repaired``), never an error: a box is clipped to its photograph;
    one without area becomes the extent of the keypoints, or, without keypoints either, the person is left out; a
    missing area, or one above the photograph's, becomes the box's; ``num_keypoints`` is recounted; labelled keypoints
    outside the photograph lose their label; a segmentation that cannot be used is dropped.

    Args:
        on_bad: what becomes of annotations and image entries with a fault that has no repair.
        image_ids: keep, and validate, the people of these images only.

    Raises:
        AnnotationError: the file as a whole cannot be used, ``image_ids`` names unknown images, or, with
            ``OnBadAnnotation.error``, any entry has a fault without repair.
    """
    only = None if image_ids is None else set(image_ids)
    annotations = _read_cached(file, images_dir, skeleton) if only is None else None
    if annotations is None:
        annotations = _validated(read_bytes(file), file, images_dir, skeleton, only)
    errors = [complaint for complaint in annotations.complaints if complaint.severity == "error"]
    if errors and on_bad is OnBadAnnotation.error:
        raise AnnotationError(errors, "; data.on_bad_annotation=drop leaves such entries out")
    return annotations


def _read_cached(file: Path, images_dir: Path, skeleton: Skeleton) -> Annotations | None:
    """All of a file from the cache, where one process puts it if it was not there; None for a file too small for it.

    The others wait for that process. One that waits in vain reads the file itself.
    """
    size, content = size_and_digest(file)
    if size < _WORTH_CACHING:
        return None
    key = _key(content, skeleton)
    arrays = load_arrays(key)
    if arrays is None:
        with alone_with(key) as is_maker:
            arrays = load_arrays(key)
            if arrays is None and is_maker:
                arrays = _store(file, images_dir, skeleton)
        if arrays is None:
            text = f"{file}: another process is still reading it, or could not cache it; this one reads it too"
            warnings.warn(text, stacklevel=2)
    return None if arrays is None else Annotations.from_arrays(arrays, file, images_dir)


def _store(file: Path, images_dir: Path, skeleton: Skeleton) -> dict[str, NDArray]:
    """The columns of ``file``, from the cache where they could be put there: mapped memory is shared."""
    data = read_bytes(file)
    if len(data) >= _TAKES_SECONDS:
        print(f"reading {file} ({len(data) / 1e6:.0f} MB); kept for the next start", file=sys.stderr, flush=True)
    arrays = _validated(data, file, images_dir, skeleton, None).to_arrays()
    key = _key(hashlib.sha256(data).digest(), skeleton)  # of the very bytes, whoever wrote to the file meanwhile
    return (load_arrays(key) if store_arrays(key, arrays) else None) or arrays


def _key(content: bytes, skeleton: Skeleton) -> str:
    digest = hashlib.sha256(content)
    for rules in _RULES:
        digest.update(Path(__file__).with_name(rules).read_bytes())
    digest.update(repr((skeleton.name, skeleton.joints)).encode())
    return digest.hexdigest()


def _validated(data: bytes, file: Path, images_dir: Path, skeleton: Skeleton, only: set[int] | None) -> Annotations:
    """The sound entries of ``data``, the content of ``file``, and what is wrong with the others."""
    name = str(file)
    content = parse_lists(data, name)
    complaints: list[Complaint] = []
    person, known = person_category(name, content["categories"], skeleton, complaints)
    if person is None:
        raise AnnotationError(complaints)
    images = image_columns(name, content["images"], only, complaints)
    unknown = sorted((only or set()) - images.known)
    if unknown:
        what = "image id {} of the selected ids is not in it"
        raise AnnotationError([of_file(name, what.format(image_id), "correct the list") for image_id in unknown])
    persons = person_columns(name, content["annotations"], images, person, known, skeleton.num_keypoints, complaints)
    counts = np.bincount(persons.image, minlength=len(images.ids))
    return Annotations(
        file=file,
        images_dir=images_dir,
        image_ids=images.ids,
        image_hw=images.hw,
        file_names=images.file_names,
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)]),
        ids=persons.ids,
        keypoints=persons.keypoints,
        visibility=persons.visibility,
        boxes=persons.boxes,
        areas=persons.areas,
        is_crowd=persons.is_crowd,
        segments=persons.segments,
        complaints=tuple(complaints),
        category_id=person,
        known_ids=images.known,
    )
