"""The annotated people that predictions are scored against: a COCO keypoint file, checked and completed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from pycocotools.coco import COCO as CocoIndex

from datamodules.annotation_rules import is_id
from datamodules.config import OnBadAnnotation
from datamodules.result_files import is_number
from datamodules.skeleton import Skeleton


class EvaluationError(ValueError):
    """Ground truth that cannot be scored, or predictions that do not belong to it."""


class GroundTruth(NamedTuple):
    """The people of the images that are scored."""

    category_id: int
    """Of the person category."""
    image_ids: list[int]
    """Scored, in order."""
    known_ids: frozenset[int]
    """Of every image in the file."""
    file_names: dict[int, str]
    """By image id, as the file has them."""
    index: CocoIndex
    """The person annotations of the scored images, crowds included."""

    def people(self, image_id: int) -> list[dict[str, Any]]:
        """The person annotations of an image, crowds included."""
        annotations: list[dict[str, Any]] = self.index.imgToAnns[image_id]
        return annotations


def read_ground_truth(
    file: Path,
    image_ids: Iterable[int] | None,
    skeleton: Skeleton,
    on_bad: OnBadAnnotation = OnBadAnnotation.error,
) -> GroundTruth:
    """The people of a COCO keypoint file.

    Its person category is the one named ``person``, else the only one. What ``read_annotations`` repairs for training
    is completed: of an annotation ``iscrowd``, ``area``, ``num_keypoints`` and ``bbox`` may be missing (0, the box's
    area, the labelled keypoints and their extent are taken; without either box or labelled keypoints it is left out),
    of a crowd ``keypoints`` too. Given values are believed, so that the figures are those of pycocotools on the same
    file, but for ids that it would lose people by (0, or one id twice): then the people are numbered anew.

    Args:
        image_ids: of the images to score; None is every image of the file.
        skeleton: gives the number of keypoints.
        on_bad: what becomes of an annotation whose ids are no numbers, or whose keypoints are not the skeleton's.

    Raises:
        EvaluationError: the file cannot be read, has no person category, lacks an image of ``image_ids``, or, with
            ``OnBadAnnotation.error``, holds such an annotation.
    """
    content = _read(file)
    category_id = _person_category(content, file)
    known_ids = frozenset(image["id"] for image in content["images"])
    wanted = known_ids if image_ids is None else frozenset(int(image_id) for image_id in image_ids)
    if not wanted <= known_ids:
        raise EvaluationError(f"{file}: image id {min(wanted - known_ids)} is not in the file")
    relevant = {
        "images": [image for image in content["images"] if image["id"] in wanted],
        "categories": [category for category in content["categories"] if category["id"] == category_id],
        "annotations": _numbered(_people(content["annotations"], category_id, wanted, file, skeleton, on_bad)),
    }
    file_names = {image["id"]: str(image.get("file_name", "")) for image in content["images"]}
    return GroundTruth(category_id, sorted(wanted), known_ids, file_names, index_of(relevant))


def index_of(dataset: dict[str, Any]) -> CocoIndex:
    """A data set in COCO's format as pycocotools looks things up in it, without its prints."""
    with redirect_stdout(io.StringIO()):
        index = CocoIndex()
        index.dataset = dataset
        index.createIndex()
    return index


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise EvaluationError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise EvaluationError(f"{file}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise EvaluationError(f"{file}: expected a JSON object with images, annotations and categories")
    if file.name.startswith("image_info_"):  # COCO's lists of test images
        content.setdefault("annotations", [])
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise EvaluationError(
                f"{file}: list {key!r} is missing; keypoint annotations in COCO's format are expected"
            )
    for key, kind in (("images", "image"), ("categories", "category")):
        for position, entry in enumerate(content[key]):
            if not isinstance(entry, dict) or not is_id(entry.get("id")):
                raise EvaluationError(f"{file}: {kind} entry number {position} has no whole number as its id")
    return content


def _person_category(content: dict[str, Any], file: Path) -> int:
    categories = content["categories"]
    named = [category for category in categories if category.get("name") == "person"]
    chosen = named or categories
    if len(chosen) != 1:
        raise EvaluationError(f"{file}: one category 'person' is expected, found {len(categories)} categories")
    return int(chosen[0]["id"])


def _people(
    annotations: list[Any],
    category_id: int,
    wanted: frozenset[int],
    file: Path,
    skeleton: Skeleton,
    on_bad: OnBadAnnotation,
) -> list[dict[str, Any]]:
    people = []
    for position, annotation in enumerate(annotations):
        try:
            category, image = _ids(annotation, position, file)
            if category == category_id and image in wanted:
                people.append(_completed(annotation, file, skeleton))
        except EvaluationError:
            if on_bad is OnBadAnnotation.error:
                raise
    return [person for person in people if person is not None]


def _ids(annotation: Any, position: int, file: Path) -> tuple[int, int]:
    """Of its category and of its image."""
    if not isinstance(annotation, dict):
        raise EvaluationError(f"{file}: annotation entry number {position} is no object")
    for key in ("category_id", "image_id"):
        if not is_id(annotation.get(key)):
            where = f"{file}: annotation {annotation.get('id')}"
            raise EvaluationError(f"{where}: {key} is {annotation.get(key)!r}, no whole number")
    return annotation["category_id"], annotation["image_id"]


def _completed(annotation: dict[str, Any], file: Path, skeleton: Skeleton) -> dict[str, Any] | None:
    """With everything that COCO's evaluation reads; None where it has neither box nor labelled keypoints."""
    is_crowd = annotation.get("iscrowd") or 0
    keypoints = _keypoints(annotation, bool(is_crowd), file, skeleton)
    seen = [(x, y) for x, y, flag in zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True) if flag > 0]
    box = annotation.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(is_number(value) for value in box)):
        if not seen:
            return None
        (left, right), (top, bottom) = ((min(values), max(values)) for values in zip(*seen, strict=True))
        box = [left, top, right - left, bottom - top]
    area, count = annotation.get("area"), annotation.get("num_keypoints")
    return {
        **annotation,
        "keypoints": keypoints,
        "iscrowd": is_crowd,
        "bbox": box,
        "area": area if is_number(area) else box[2] * box[3],
        "num_keypoints": len(seen) if count is None else count,
    }


def _keypoints(annotation: dict[str, Any], is_crowd: bool, file: Path, skeleton: Skeleton) -> list[float]:
    where = f"{file}: annotation {annotation.get('id')}"
    keypoints, expected = annotation.get("keypoints"), 3 * skeleton.num_keypoints
    if keypoints is None and is_crowd:
        return [0] * expected
    if keypoints is not None and not isinstance(keypoints, list):
        raise EvaluationError(f"{where}: 'keypoints' is no list")
    if keypoints is None or len(keypoints) != expected:
        found = "no" if keypoints is None else len(keypoints)
        raise EvaluationError(f"{where}: {found} keypoint values, skeleton {skeleton.name} asks for {expected}")
    if not all(is_number(value) for value in keypoints):
        raise EvaluationError(f"{where}: 'keypoints' holds what is no finite number")
    return keypoints


def _numbered(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Their own ids where pycocotools can tell all by them, else 1, 2, …: it takes a match with the id 0 for none."""
    ids = [person.get("id") for person in people]
    if all(is_id(number) and number > 0 for number in ids) and len(set(ids)) == len(ids):
        return people
    return [{**person, "id": number} for number, person in enumerate(people, start=1)]
