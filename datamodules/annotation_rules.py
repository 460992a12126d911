"""What the categories and images of a COCO keypoint file must satisfy: entries in, columns and complaints out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from datamodules.skeleton import Skeleton


class Complaint(NamedTuple):
    """One fault in an annotation file."""

    severity: str
    """``error``: no repair, the entry is refused or dropped. ``repaired``: a stated rule was applied."""
    file: str
    kind: str
    """``file``, ``category``, ``image`` or ``annotation``."""
    id: int | None
    """Id of the image or annotation, where it has one."""
    what: str
    fix: str
    """What to do about an error; what was done about a repaired fault."""

    def __str__(self) -> str:
        subject = "" if self.kind == "file" else f"{self.kind} " if self.id is None else f"{self.kind} {self.id}: "
        return f"{self.file}: {subject}{self.what}; {self.fix}"


MOST_OF_A_KIND = 10
_PARTICULAR = re.compile(r"'[^']*'|\S*[/.\d]\S*")
"""Paths, numbers and quoted names in ``Complaint.what``."""


def list_complaints(complaints: Iterable[Complaint], most: int = MOST_OF_A_KIND) -> list[str]:
    """Lines of severity and complaint, ``most`` of each kind at most, with the number of those left out.

    Complaints are of one kind where they differ in ids, paths, numbers and quoted names alone.
    """
    kinds: dict[tuple[str, str, str], list[Complaint]] = {}
    for complaint in complaints:
        key = (complaint.severity, complaint.kind, _PARTICULAR.sub("", complaint.what))
        kinds.setdefault(key, []).append(complaint)
    lines = []
    for (severity, *_), ones in kinds.items():
        lines += [f"{severity}: {complaint}" for complaint in ones[:most]]
        if len(ones) > most:
            lines.append(f"{severity}: … and {len(ones) - most:,} more of this kind")
    return lines


class ImageColumns(NamedTuple):
    ids: NDArray[np.int64]
    hw: NDArray[np.int64]
    file_names: NDArray[np.bytes_]
    known: frozenset[int]
    """Ids of every image entry of the file, also of those refused or not selected."""


def person_category(
    file: str, categories: list[Any], skeleton: Skeleton, complaints: list[Complaint]
) -> tuple[int | None, frozenset[int]]:
    """Id of the category named ``person`` (None, with a complaint, where it cannot be used) and all category ids."""
    entries = [category for category in categories if isinstance(category, dict) and is_id(category.get("id"))]
    known = frozenset(category["id"] for category in entries)

    def refuse(what: str, fix: str) -> tuple[None, frozenset[int]]:
        complaints.append(Complaint("error", file, "file", None, what, fix))
        return None, known

    people = [category for category in entries if category.get("name") == "person"]
    if len(people) != 1:
        names = ", ".join(sorted({str(category.get("name")) for category in entries})) or "none"
        return refuse(f"{len(people)} categories are named 'person' (it has: {names})", "name exactly one 'person'")
    joints = people[0].get("keypoints")
    if isinstance(joints, list):
        if len(joints) != skeleton.num_keypoints:
            return refuse(
                f"its people have {len(joints)} keypoints, skeleton {skeleton.name} has {skeleton.num_keypoints}",
                "set data.skeleton to a file that names these joints",
            )
        for index, (theirs, ours) in enumerate(zip(joints, skeleton.joints, strict=True)):
            if re.sub(r"[\s-]", "_", str(theirs)).lower() != ours.lower():
                return refuse(
                    f"its keypoint {index} is {theirs!r}, that of skeleton {skeleton.name} is {ours!r}",
                    "set data.skeleton to a file that names these joints in this order",
                )
    return people[0]["id"], known


def image_columns(file: str, entries: list[Any], only: set[int] | None, complaints: list[Complaint]) -> ImageColumns:
    """Columns of the usable image entries, in the file's order; ``only``, where given, of these ids."""
    ids: list[int] = []
    sizes: list[tuple[int, int]] = []
    names: list[bytes] = []
    known: set[int] = set()
    for position, entry in enumerate(entries):
        image_id = entry.get("id") if isinstance(entry, dict) else None
        if not is_id(image_id):
            what = f"image entry number {position} has no whole number as its id"
            complaints.append(Complaint("error", file, "file", None, what, "give it one"))
            continue
        repeated = image_id in known
        known.add(image_id)
        if only is not None and image_id not in only:
            continue
        fault = ("its id is used twice", "give each image its own") if repeated else _fault_of_image(entry)
        if fault:
            complaints.append(Complaint("error", file, "image", image_id, *fault))
            continue
        ids.append(image_id)
        sizes.append((entry["height"], entry["width"]))
        names.append(entry["file_name"].encode())
    return ImageColumns(
        np.array(ids, dtype=np.int64),
        np.array(sizes, dtype=np.int64).reshape(-1, 2),
        np.array(names, dtype=np.bytes_),
        frozenset(known),
    )


def _fault_of_image(entry: dict[str, Any]) -> tuple[str, str] | None:
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        return "it has no file_name", "name its file below the split's folder"
    if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
        return f"file_name {name!r} is no text that UTF-8 can hold", "correct it"
    if not _is_inside(name):
        return f"file_name {name!r} leads out of the split's folder", "name a file below it"
    for key in ("width", "height"):
        if not is_id(entry.get(key)) or entry[key] < 1:
            return f"{key} is {entry.get(key)!r}", "give its size in pixels"
    return None


def is_id(value: Any) -> TypeGuard[int]:
    """Whether ``value`` is a whole number that a column of i64 can hold."""
    return type(value) is int and -(2**63) <= value < 2**63


def _is_inside(name: str) -> bool:
    if re.fullmatch(r"[\w.-]+", name):
        return name not in (".", "..")
    absolute = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name)
    return not absolute and "\0" not in name and ".." not in re.split(r"[\\/]", name) and not name.endswith("/")
