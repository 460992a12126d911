"""What the people of a COCO keypoint file must satisfy: entries in, columns and complaints out."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.annotation_rules import Complaint, ImageColumns, is_id
from datamodules.segments import Segments, flatten_segments


class PersonColumns(NamedTuple):
    """As the fields of ``Annotations``, sorted by ``image`` i64 [M], the number of each person's image."""

    image: NDArray[np.int64]
    ids: NDArray[np.int64]
    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    areas: NDArray[np.float32]
    is_crowd: NDArray[np.bool_]
    segments: Segments


class _Rules:
    """Applies one rule after the other to columns of person entries and gathers the complaints."""

    def __init__(self, file: str, ids: list[int], complaints: list[Complaint]) -> None:
        self.file = file
        self.ids = ids
        self.complaints = complaints
        self.keep = np.ones(len(ids), dtype=bool)

    def refuse(self, bad: Any, what: Any, fix: str) -> None:
        """Entries that are ``bad`` and still kept are refused; ``what`` is a text or a function of the row."""
        self._complain("error", bad & self.keep, what, fix)
        self.keep &= ~bad

    def repair(self, bad: Any, what: Any, fix: str) -> None:
        self._complain("repaired", bad & self.keep, what, fix)

    def leave_out(self, bad: Any, what: Any, fix: str) -> None:
        self.repair(bad, what, fix)
        self.keep &= ~bad

    def _complain(self, severity: str, bad: Any, what: Any, fix: str) -> None:
        for row in np.flatnonzero(bad).tolist():
            text = what(row) if callable(what) else what
            self.complaints.append(Complaint(severity, self.file, "annotation", self.ids[row], text, fix))


def person_columns(
    file: str,
    entries: list[Any],
    images: ImageColumns,
    person: int,
    categories: frozenset[int],
    num_keypoints: int,
    complaints: list[Complaint],
) -> PersonColumns:
    """Columns of the usable entries of category ``person`` in ``images``, by image, else in the file's order."""
    number_of = {image_id: number for number, image_id in enumerate(images.ids.tolist())}
    rows = _person_entries(file, entries, images, number_of, person, categories, complaints)
    image = np.array([number_of[row["image_id"]] for row in rows], dtype=np.int64)
    hw = images.hw[image]
    rules = _Rules(file, [row["id"] for row in rows], complaints)
    is_crowd = _crowd_column(rows, rules)
    keypoints, visibility = _keypoint_columns(rows, hw, is_crowd, num_keypoints, rules)
    boxes = _box_column(rows, hw, keypoints, visibility, rules)
    areas = _area_column(rows, hw, boxes, rules)
    segments, faults = flatten_segments([row.get("segmentation") for row in rows], hw)
    for index, what in faults:
        bad = np.zeros(len(rows), dtype=bool)
        bad[index] = True
        rules.repair(bad, what, "it was left out")
    order = np.flatnonzero(rules.keep)
    order = order[np.argsort(image[order], kind="stable")]
    return PersonColumns(
        image[order],
        np.array(rules.ids, dtype=np.int64)[order],
        keypoints[order].astype(np.float32),
        visibility[order],
        boxes[order].astype(np.float32),
        areas[order].astype(np.float32),
        is_crowd[order],
        segments.select(order),
    )


def _person_entries(
    file: str,
    entries: list[Any],
    images: ImageColumns,
    number_of: dict[int, int],
    person: int,
    categories: frozenset[int],
    complaints: list[Complaint],
) -> list[dict[str, Any]]:
    """Entries of people in selected images whose ids are sound."""
    rows: list[dict[str, Any]] = []
    seen: set[int] = set()
    for position, entry in enumerate(entries):
        entry_id = entry.get("id") if isinstance(entry, dict) else None
        if not is_id(entry_id):
            what = f"annotation entry number {position} has no whole number as its id"
            complaints.append(Complaint("error", file, "file", None, what, "give it one"))
            continue
        image_id = entry.get("image_id")
        if is_id(image_id) and image_id in images.known and image_id not in number_of:
            continue
        if entry_id in seen:
            fault: tuple[str, str] | None = ("its id is used twice", "give each annotation its own")
        elif not is_id(entry.get("category_id")) or entry["category_id"] not in categories:
            fault = (f"category_id {entry.get('category_id')!r} is no category of the file", "add it or correct it")
        elif not is_id(image_id) or image_id not in number_of:
            fault = (f"image_id {image_id!r} is no image of the file", "add the image or remove the annotation")
        else:
            fault = None
        seen.add(entry_id)
        if fault:
            complaints.append(Complaint("error", file, "annotation", entry_id, *fault))
        elif entry["category_id"] == person:
            rows.append(entry)
    return rows


def _crowd_column(rows: list[dict[str, Any]], rules: _Rules) -> NDArray[np.bool_]:
    values = [row.get("iscrowd", 0) for row in rows]
    bad = np.array([value not in (0, 1) for value in values], dtype=bool)
    rules.refuse(bad, lambda row: f"iscrowd is {values[row]!r}", "make it 0 or 1")
    return np.array([value == 1 for value in values], dtype=bool)


def _keypoint_columns(
    rows: list[dict[str, Any]],
    hw: NDArray[np.int64],
    is_crowd: NDArray[np.bool_],
    num_keypoints: int,
    rules: _Rules,
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Keypoints [M, K, 2] in continuous coordinates and visibility [M, K]; both zero where nothing is labelled."""
    values = [row.get("keypoints") for row in rows]
    nothing = [0] * (3 * num_keypoints)
    table, good = _number_table(
        [nothing if value is None and crowd else value for value, crowd in zip(values, is_crowd, strict=True)],
        3 * num_keypoints,
    )

    def length(row: int) -> str:
        value = values[row]
        if value is None:
            return "it has no keypoints"
        size = len(value) if isinstance(value, list) else None
        wrong = f"{size} values" if size != 3 * num_keypoints and size is not None else "values that are no numbers"
        return f"keypoints has {wrong}, expected {3 * num_keypoints} numbers"

    rules.refuse(~good, length, "correct it, or give the person_keypoints file")
    table = table.reshape(-1, num_keypoints, 3)
    xy, flags = table[..., :2], table[..., 2]
    rules.refuse(~np.isfinite(table).all(axis=(1, 2)), "keypoints holds NaN or infinity", "correct it")
    bad = ~np.isin(flags, (0, 1, 2))

    def flag(row: int) -> str:
        joint = int(bad[row].argmax())
        return f"visibility of keypoint {joint} is {flags[row, joint]:g}"

    rules.refuse(bad.any(axis=1), flag, "make it 0, 1 or 2")
    labelled = np.where(bad, 0, flags).astype(np.uint8)
    counted = (labelled > 0).sum(axis=1)
    stated = [row.get("num_keypoints", count) for row, count in zip(rows, counted.tolist(), strict=True)]
    lies = np.array([value != count for value, count in zip(stated, counted.tolist(), strict=True)], dtype=bool)
    rules.repair(lies, lambda row: f"num_keypoints says {stated[row]!r} of {counted[row]} labelled", "recounted")
    xy = np.where(np.isfinite(xy), xy, 0.0) + 0.5  # COCO's pixel indices -> continuous coordinates
    outside = (labelled > 0) & ((xy < 0) | (xy >= hw[:, None, ::-1])).any(axis=2)
    rules.repair(
        outside.any(axis=1),
        lambda row: f"{outside[row].sum()} labelled keypoints lie outside the photograph",
        "unlabelled",
    )
    visibility = np.where(outside, 0, labelled).astype(np.uint8)
    return np.where(visibility[..., None] > 0, xy, 0.0), visibility


def _box_column(
    rows: list[dict[str, Any]],
    hw: NDArray[np.int64],
    keypoints: NDArray[np.float64],
    visibility: NDArray[np.uint8],
    rules: _Rules,
) -> NDArray[np.float64]:
    """Boxes [M, 4], x0 y0 x1 y1, inside the photograph."""
    stated, good = _number_table([row.get("bbox") for row in rows], 4)
    good &= np.isfinite(stated).all(axis=1)
    stated = np.where(good[:, None], stated, 0.0)
    limit = np.concatenate([hw[:, ::-1], hw[:, ::-1]], axis=1).astype(np.float64)
    boxes = np.concatenate([stated[:, :2], stated[:, :2] + stated[:, 2:]], axis=1)
    inside = np.clip(boxes, 0, limit)
    usable = good & (stated[:, 2:] > 0).all(axis=1) & (inside[:, 2:] > inside[:, :2]).all(axis=1)
    has_points = (visibility > 0).any(axis=1)

    def text(row: int) -> str:
        return f"bbox {rows[row].get('bbox')} has no area inside its photograph ({hw[row, 1]}x{hw[row, 0]})"

    rules.repair(~usable & has_points, text, "the extent of its keypoints was taken")
    rules.leave_out(~usable & ~has_points, text, "it has no keypoints either and was left out")
    beyond = np.abs(inside - boxes).max(axis=1, initial=0.0)
    rules.repair(
        usable & (beyond > 1.0), lambda row: f"bbox reaches {beyond[row]:g} px out of its photograph", "clipped"
    )
    points = np.where(visibility[..., None] > 0, keypoints, np.nan)
    lonely = np.flatnonzero(~usable & has_points)
    for row in lonely.tolist():
        extent = np.concatenate([np.nanmin(points[row], axis=0) - 1.0, np.nanmax(points[row], axis=0) + 1.0])
        inside[row] = np.clip(extent, 0, limit[row])
    return inside


def _area_column(
    rows: list[dict[str, Any]], hw: NDArray[np.int64], boxes: NDArray[np.float64], rules: _Rules
) -> NDArray[np.float64]:
    """Areas [M]: as stated, where that is positive and not more than the photograph's."""
    stated, good = _number_table([[row.get("area")] for row in rows], 1)
    areas = stated[:, 0]
    good &= np.isfinite(areas) & (areas > 0) & (areas <= hw.astype(np.float64).prod(axis=1))
    rules.repair(~good, lambda row: f"area is {rows[row].get('area')!r}", "the area of its box was taken")
    of_box = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.where(good, areas, of_box)


def _number_table(values: list[Any], width: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows of ``width`` numbers as f64 [M, width], and which rows are such; the others are zero."""
    try:
        table = np.array(values)
        if table.dtype.kind in "iuf" and table.shape == (len(values), width):
            return table.astype(np.float64), np.ones(len(values), dtype=bool)
    except (ValueError, OverflowError):
        pass
    result = np.zeros((len(values), width))
    good = np.zeros(len(values), dtype=bool)
    for row, value in enumerate(values):
        if isinstance(value, list) and len(value) == width and all(type(number) in (int, float) for number in value):
            with contextlib.suppress(OverflowError):  # a whole number of hundreds of digits
                result[row] = np.array(value, dtype=np.float64)
                good[row] = True
    return result, good
