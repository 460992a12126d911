"""What sound annotations are, said a second time: entry by entry, in plain Python, apart from the code under test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from datamodules.annotations import Annotations


def is_number(value: Any) -> bool:
    """A finite JSON number; ``true`` counts as 1, as in Python."""
    try:
        return isinstance(value, (int, float)) and math.isfinite(float(value))
    except OverflowError:
        return False


def is_id(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63


def people_to_complain_of(document: dict[str, Any]) -> list[Any]:
    """The annotation entries of a COCO keypoint document in which something is wrong, whatever becomes of them."""
    images = {image["id"]: image for image in document["images"] if _is_sound_image(image)}
    persons = [category for category in document["categories"] if isinstance(category, dict)]
    person = next(category["id"] for category in persons if category.get("name") == "person")
    others = {category.get("id") for category in persons if is_id(category.get("id"))} - {person}
    seen: set[Any] = set()
    bad = []
    for entry in document["annotations"]:
        if not isinstance(entry, dict) or not is_id(entry.get("id")):
            bad.append(entry)
            continue
        is_repeated, _ = entry["id"] in seen, seen.add(entry["id"])
        category = entry.get("category_id") if is_id(entry.get("category_id")) else None
        image = images.get(entry.get("image_id")) if is_id(entry.get("image_id")) else None
        is_misplaced = image is None or category not in others | {person}
        if is_repeated or is_misplaced or (category == person and not _is_sound_person(entry, image or {})):
            bad.append(entry)
    return bad


def _is_sound_image(image: Any) -> bool:
    return isinstance(image, dict) and is_id(image.get("id")) and all(is_id(image.get(k)) for k in ("width", "height"))


def _is_sound_person(entry: dict[str, Any], image: dict[str, Any]) -> bool:
    crowd = entry.get("iscrowd", 0)
    if not is_number(crowd) or crowd not in (0, 1):
        return False
    keypoints = entry.get("keypoints")
    if keypoints is None and crowd:
        keypoints = [0] * 51
    if not isinstance(keypoints, list) or len(keypoints) != 51 or not all(map(is_number, keypoints)):
        return False
    points = [keypoints[at : at + 3] for at in range(0, 51, 3)]
    width, height = image["width"], image["height"]
    for x, y, flag in points:
        inside = 0 <= x + 0.5 < width and 0 <= y + 0.5 < height
        if flag not in (0, 1, 2) or (flag > 0 and not inside):
            return False
    if entry.get("num_keypoints", -1) not in (-1, sum(flag > 0 for _, _, flag in points)):
        return False
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return False
    x, y, w, h = box
    within = x >= -1 and y >= -1 and x + w <= width + 1 and y + h <= height + 1
    return w > 0 and h > 0 and within and is_number(entry.get("area")) and 0 < entry["area"] <= width * height


def assert_sound(annotations: Annotations) -> None:
    """Whatever was accepted can be trained on."""
    assert len(set(annotations.image_ids.tolist())) == annotations.num_images
    assert (annotations.image_hw >= 1).all()
    assert annotations.offsets[0] == 0
    assert annotations.offsets[-1] == len(annotations.ids) == len(annotations.keypoints)
    assert len(set(annotations.ids.tolist())) == len(annotations.ids)
    assert np.isfinite(annotations.keypoints).all()
    assert np.isin(annotations.visibility, (0, 1, 2)).all()
    assert np.isfinite(annotations.areas).all()
    assert (annotations.areas > 0).all()
    for number in range(annotations.num_images):
        rows = annotations.people(number)
        height, width = annotations.image_hw[number].tolist()
        boxes, points = annotations.boxes[rows], annotations.keypoints[rows][annotations.visibility[rows] > 0]
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()
        assert ((points >= 0) & (points < [width, height])).all()
        assert ".." not in annotations.path(number).parts
        assert annotations.path(number).is_relative_to(annotations.images_dir)
