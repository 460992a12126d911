"""A scene as COCO writes it: images, annotations, segmentations."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from datamodules.skeleton import COCO
from datamodules.synthetic.scene import Person

LICENSE = {"id": 1, "name": "CC0 1.0 Universal", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}


def annotation_of(person: Person, image_id: int, annotation_id: int) -> dict[str, Any]:
    """One entry of ``annotations``; keypoints are pixel indices (0.5 less than continuous coordinates)."""
    rows, columns = np.flatnonzero(person.mask.any(axis=1)), np.flatnonzero(person.mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    labelled = person.visibility > 0
    points = np.where(labelled[:, None], person.keypoints - 0.5, 0.0).round(2)
    values = np.concatenate([points, person.visibility[:, None]], axis=1).reshape(-1)
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": int(person.is_crowd),
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "area": int(np.count_nonzero(person.mask)),
        "num_keypoints": int(np.count_nonzero(labelled)),
        "keypoints": [int(value) if value == int(value) else float(value) for value in values],
        "segmentation": run_lengths(person.mask) if person.is_crowd else polygons(person.mask),
    }


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run-length encoding, column by column, of a bool mask [H, W]."""
    flat = mask.T.reshape(-1).astype(np.int8)
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(flat, prepend=0)), [len(flat)]])
    return {"counts": np.diff(bounds).tolist(), "size": list(mask.shape)}


def polygons(mask: np.ndarray) -> list[list[float]]:
    """COCO's polygons of a bool mask [H, W]: one per piece, holes joined to the rim by a cut of no width.

    The outline runs a quarter of a pixel inside the pixels' outer edges, so that it contains their centres:
    pycocotools rasterises it back to the mask.
    """
    height, width = mask.shape
    doubled = cv2.resize(mask.astype(np.uint8), (2 * width, 2 * height), interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    pieces = []
    for index, contour in enumerate(contours):
        if hierarchy[0][index][3] >= 0:
            continue
        outline = _simplified(contour)
        hole = hierarchy[0][index][2]
        while hole >= 0:
            outline = _with_hole(outline, _simplified(contours[hole]))
            hole = hierarchy[0][hole][0]
        pieces.append(((outline + 0.5) / 2).reshape(-1).tolist())
    return pieces


def _simplified(contour: np.ndarray) -> np.ndarray:
    simple = cv2.approxPolyDP(contour, 0.75, True)[:, 0]
    return simple if len(simple) >= 3 else contour[:, 0]


def _with_hole(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    distances = ((outline[:, None] - hole[None]) ** 2).sum(axis=-1)
    at, start = np.unravel_index(int(distances.argmin()), distances.shape)
    loop = np.concatenate([hole[start:], hole[: start + 1]])
    return np.concatenate([outline[: at + 1], loop, outline[at:]])


def document(images: list[dict[str, Any]], annotations: list[dict[str, Any]], description: str) -> dict[str, Any]:
    """A whole annotation file."""
    limbs = [[a + 1, b + 1] for a, b in COCO.limb_indices]
    category = {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(COCO.joints), "skeleton": limbs}
    return {
        "info": {"description": description, "version": "1.0", "year": 2025, "contributor": "pose-papers"},
        "licenses": [LICENSE],
        "images": images,
        "annotations": annotations,
        "categories": [category],
    }
