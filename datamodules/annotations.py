"""COCO keypoint annotations as validated columns: numpy arrays that DataLoader workers share without copying."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.annotation_rules import Complaint, image_columns, person_category
from datamodules.config import OnBadAnnotation
from datamodules.person_rules import person_columns
from datamodules.segments import Segments
from datamodules.skeleton import Skeleton


class AnnotationError(ValueError):
    """Annotations that cannot be used. The message is one line; ``complaints`` holds every fault found."""

    def __init__(self, complaints: list[Complaint], advice: str = "") -> None:
        self.complaints = tuple(complaints)
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        super().__init__(f"{complaints[0]}{more}{advice}")


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


def read_annotations(
    file: Path,
    images_dir: Path,
    skeleton: Skeleton,
    *,
    on_bad: OnBadAnnotation = OnBadAnnotation.error,
    image_ids: list[int] | None = None,
) -> Annotations:
    """Read and validate a COCO keypoint file once. Categories other than ``person`` are left out.

    Repaired and counted (``complaints`` of severity ``repaired``), never an error: a box is clipped to its photograph;
    one without area becomes the extent of the keypoints, or, without keypoints either, the person is left out; a
    missing area becomes the box's; ``num_keypoints`` is recounted; labelled keypoints outside the photograph lose
    their label; a segmentation that cannot be used is dropped.

    Args:
        on_bad: what becomes of annotations and image entries with a fault that has no repair.
        image_ids: keep, and validate, the people of these images only.

    Raises:
        AnnotationError: the file as a whole cannot be used, ``image_ids`` names unknown images, or, with
            ``OnBadAnnotation.error``, any entry has a fault without repair.
    """
    name = str(file)
    content = _load(file)
    complaints: list[Complaint] = []
    person, known = person_category(name, content["categories"], skeleton, complaints)
    if person is None:
        raise AnnotationError(complaints)
    only = None if image_ids is None else set(image_ids)
    images = image_columns(name, content["images"], only, complaints)
    unknown = sorted((only or set()) - images.known)
    if unknown:
        what = "image id {} of the selected ids is not in it"
        raise AnnotationError([_of_file(name, what.format(image_id), "correct the list") for image_id in unknown])
    persons = person_columns(name, content["annotations"], images, person, known, skeleton.num_keypoints, complaints)
    errors = [complaint for complaint in complaints if complaint.severity == "error"]
    if errors and on_bad is OnBadAnnotation.error:
        raise AnnotationError(errors, "; data.on_bad_annotation=drop leaves such entries out")
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


def _load(file: Path) -> dict[str, list[Any]]:
    """The three lists of a COCO file.

    Raises:
        AnnotationError: missing, not JSON, or not COCO's layout.
    """
    name = str(file)
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        fix = "correct data.root and the split, or get COCO with `python -m experiments.data download --root DIR`"
        raise AnnotationError([_of_file(name, "there is no such annotation file", fix)]) from None
    except OSError as error:
        raise AnnotationError([_of_file(name, f"cannot be read: {error.strerror}", "correct it")]) from error
    except (ValueError, RecursionError) as error:
        what = f"is not complete JSON ({str(error).splitlines()[0]})"
        raise AnnotationError([_of_file(name, what, "download or write it again")]) from error
    if not isinstance(content, dict):
        what = f"holds a {type(content).__name__} at its top, not an object"
        fix = "give COCO annotations (images, annotations, categories), not results"
        raise AnnotationError([_of_file(name, what, fix)])
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            found = f"{key!r} is a {type(content[key]).__name__}, no list" if key in content else f"has no list {key!r}"
            raise AnnotationError([_of_file(name, found, "give a COCO person_keypoints file")])
    return content


def _of_file(name: str, what: str, fix: str) -> Complaint:
    return Complaint("error", name, "file", None, what, fix)
