"""A person detector's results: COCO's detection JSON -> validated boxes, duplicates suppressed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.annotations import Annotations
from datamodules.config import DetectionsConfig, SoftNms
from datamodules.result_files import is_number


class DetectionError(ValueError):
    """A detector's file that cannot be used; one line that names file, entry and fix."""


class Boxes(NamedTuple):
    """N people to look at, grouped by photograph."""

    image: NDArray[np.int64]
    """[N], number of the photograph in its ``Annotations``; ascending."""
    boxes: NDArray[np.float32]
    """[N, 4], x0 y0 x1 y1, inside the photograph and with an area."""
    scores: NDArray[np.float32]
    """[N]."""


def read_detections(config: DetectionsConfig, annotations: Annotations) -> Boxes:
    """The people of ``config.file`` in the photographs of ``annotations``, best first in each.

    Other categories than ``annotations.category_id`` and photographs that are not evaluated are left out. Boxes are
    clipped to their photograph; those without an area there are left out. A file with an empty list finds nobody.

    Raises:
        DetectionError: the file cannot be read, is not a list of detections, names an image the split lacks, or
            holds only other categories.
    """
    file = Path(str(config.file))
    entries = load_entries(file, "data.detections.file")
    _check(file, entries, annotations.known_ids)
    people = [entry for entry in entries if entry["category_id"] == annotations.category_id]
    if entries and not people:
        raise DetectionError(
            f"{file}: none of its {len(entries)} detections has category_id {annotations.category_id} (person); "
            "give the results of a person detector"
        )
    number = {image_id: index for index, image_id in enumerate(annotations.image_ids.tolist())}
    people = [entry for entry in people if entry["image_id"] in number]
    image = np.array([number[entry["image_id"]] for entry in people], dtype=np.int64)
    boxes = np.array([entry["bbox"] for entry in people], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([entry["score"] for entry in people], dtype=np.float32)
    return usable(image, boxes, scores, annotations.image_hw[image], config)


def usable(
    image: NDArray[np.int64],
    boxes: NDArray[np.float64],
    scores: NDArray[np.float32],
    image_hw: NDArray[Any],
    config: DetectionsConfig,
) -> Boxes:
    """Clipped to their photographs, suppressed within each, those above the threshold, best first.

    Args:
        image: [N], number of the photograph.
        boxes: [N, 4], x0 y0 x1 y1; those without an area inside their photograph are left out.
        scores: [N].
        image_hw: [N, 2], of each box's photograph.
    """
    inside = np.clip(boxes, 0, image_hw[:, [1, 0, 1, 0]]).astype(np.float32)
    has_area = (inside[:, 2:] > inside[:, :2]).all(axis=1)
    scores = suppressed(image, inside, np.where(has_area, scores, -np.inf), config)
    kept = np.flatnonzero(has_area & (scores > config.score_threshold))
    kept = kept[np.lexsort((-scores[kept], image[kept]))]
    return Boxes(image[kept], inside[kept], scores[kept].astype(np.float32))


def soft_nms(boxes: NDArray[Any], scores: NDArray[Any], lower: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """Scores f32 [N] of ``boxes`` [N, 4] after suppression, in their own order.

    The best box left is taken and every other one's score multiplied by ``lower`` of its IoU with it, and again.
    """
    scores = scores.astype(np.float64)
    left = np.ones(len(scores), dtype=bool)
    for _ in range(len(scores)):
        best = int(np.where(left, scores, -np.inf).argmax())
        left[best] = False
        scores[left] *= lower(_iou(boxes[best], boxes[left]))
    return scores.astype(np.float32)


def suppressed(
    image: NDArray[np.int64], boxes: NDArray[np.float32], scores: NDArray[Any], config: DetectionsConfig
) -> NDArray[Any]:
    """Scores [N] of ``boxes`` [N, 4] after the configured soft-NMS within each ``image`` [N]."""
    if config.soft_nms is SoftNms.none:
        return scores

    def linear(iou: NDArray[Any]) -> NDArray[Any]:
        return np.where(iou > config.soft_nms_iou, 1 - iou, 1.0)

    def gaussian(iou: NDArray[Any]) -> NDArray[Any]:
        return np.exp(-np.square(iou) / config.soft_nms_sigma)

    lower = linear if config.soft_nms is SoftNms.linear else gaussian
    order = np.argsort(image, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(image[order])) + 1)
    lowered = scores.copy()
    for group in groups:
        lowered[group] = soft_nms(boxes[group], scores[group], lower)
    return lowered


def _iou(box: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    overlap = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - overlap
    return overlap / np.maximum(union, np.finfo(np.float32).tiny)


def load_entries(file: Path, named_by: str) -> list[Any]:
    """The list a detector's file holds, its entries as they are.

    Args:
        named_by: the key or option that gave the file, for messages.

    Raises:
        DetectionError: it cannot be read, or is no list.
    """
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DetectionError(f"{file}: cannot be read ({error.strerror}); correct {named_by}") from error
    except (ValueError, RecursionError) as error:
        raise DetectionError(f"{file}: is not complete JSON ({str(error).splitlines()[0]}); write it again") from error
    if not isinstance(content, list):
        raise DetectionError(
            f"{file}: holds a {type(content).__name__} at its top; give COCO detection results, a list of "
            "{image_id, category_id, bbox, score}"
        )
    return content


def _check(file: Path, entries: list[Any], known_ids: frozenset[int]) -> None:
    """Every entry has the four keys with sound values, and every image is one of the split.

    Raises:
        DetectionError: for the first that has not, with how many there are.
    """
    faults = ((position, _fault(entry)) for position, entry in enumerate(entries))
    for position, fault in faults:
        if fault is not None:
            raise DetectionError(f"{file}: detection number {position} {fault}; correct the file")
    strangers = sorted({entry["image_id"] for entry in entries} - known_ids)
    if strangers:
        raise DetectionError(
            f"{file}: image id {strangers[0]} (and {len(strangers) - 1} more) is not in the evaluated split; give the "
            "detections of data.val_split"
        )


def _fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return f"is a {type(entry).__name__}, not an object"
    for key in ("image_id", "category_id"):
        if type(entry.get(key)) is not int:
            return f"has no whole number as its {key}"
    return check_values(entry.get("bbox"), entry.get("score"))


def check_values(bbox: Any, score: Any) -> str | None:
    """What is wrong with a detection's values; None if nothing is."""
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(is_number(value) for value in bbox)):
        return f"has bbox {bbox!r}, not four finite numbers (x, y, width, height)"
    if not is_number(score):
        return f"has score {score!r}, not a finite number"
    return None
