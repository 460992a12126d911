"""The annotated people that predictions are scored against: a COCO keypoint file, checked and completed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from pycocotools.coco import COCO as CocoIndex

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


def read_ground_truth(file: Path, image_ids: Iterable[int] | None, skeleton: Skeleton) -> GroundTruth:
    """The people of a COCO keypoint file.

    Its person category is the one named ``person``, else the only one. ``iscrowd``, ``area`` and ``num_keypoints`` may
    be missing from an annotation (0, the box's area, the labelled keypoints are taken); given values are believed, so
    that the figures are those of pycocotools on the same file.

    Args:
        image_ids: of the images to score; None is every image of the file.
        skeleton: gives the number of keypoints.

    Raises:
        EvaluationError: the file cannot be read, has no person category, lacks an image of ``image_ids``, or holds an
            annotation without box or with another number of keypoints.
    """
    content = _read(file)
    category_id = _person_category(content, file)
    known_ids = frozenset(int(image["id"]) for image in content["images"])
    wanted = known_ids if image_ids is None else {int(image_id) for image_id in image_ids}
    if not wanted <= known_ids:
        raise EvaluationError(f"{file}: image id {min(wanted - known_ids)} is not in the file")
    relevant = {
        "images": [image for image in content["images"] if image["id"] in wanted],
        "categories": [category for category in content["categories"] if category["id"] == category_id],
        "annotations": [
            _complete(annotation, file, skeleton)
            for annotation in content["annotations"]
            if annotation["category_id"] == category_id and annotation["image_id"] in wanted
        ],
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
    return content


def _person_category(content: dict[str, Any], file: Path) -> int:
    categories = content["categories"]
    named = [category for category in categories if category.get("name") == "person"]
    chosen = named or categories
    if len(chosen) != 1:
        raise EvaluationError(f"{file}: one category 'person' is expected, found {len(categories)} categories")
    return int(chosen[0]["id"])


def _complete(annotation: dict[str, Any], file: Path, skeleton: Skeleton) -> dict[str, Any]:
    where = f"{file}: annotation {annotation.get('id')}"
    keypoints = annotation.get("keypoints")
    expected = 3 * skeleton.num_keypoints
    if keypoints is None or len(keypoints) != expected:
        found = "no" if keypoints is None else len(keypoints)
        raise EvaluationError(f"{where}: {found} keypoint values, skeleton {skeleton.name} asks for {expected}")
    if "bbox" not in annotation:
        raise EvaluationError(f"{where}: 'bbox' is missing")
    _, _, width, height = annotation["bbox"]
    labelled = sum(1 for visibility in keypoints[2::3] if visibility > 0)
    defaults = {"iscrowd": 0, "area": width * height, "num_keypoints": labelled}
    return {**defaults, **annotation}
