"""COCO keypoint result files: read and checked, from this suite or elsewhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from datamodules.skeleton import Skeleton


def write_whole(file: Path, text: str) -> None:
    """Write beside ``file`` and rename: whoever reads it, or finds it after a crash, has all of it or the one before.

    Raises:
        OSError: it cannot be written.
    """
    draft = file.with_name(f"{file.name}.part")
    try:
        draft.write_text(text)
        os.replace(draft, file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


class ResultFileError(ValueError):
    """A result file that cannot be scored; one line that names file, entry and fix."""


def read_results(file: Path, skeleton: Skeleton, known_ids: set[int] | None = None) -> list[dict[str, Any]]:
    """The entries of a file in COCO's keypoint result format, unchanged.

    Args:
        skeleton: gives the number of keypoints.
        known_ids: image ids the file may name; None lets any.

    Raises:
        ResultFileError: the file cannot be read, is not a list of results, an entry lacks a key or has a value of the
            wrong kind, or it names an image that is not known.
    """
    try:
        entries = json.loads(file.read_bytes())
    except OSError as error:
        raise ResultFileError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ResultFileError(f"{file}: is not complete JSON ({str(error).splitlines()[0]})") from error
    check_results(entries, str(file), skeleton, known_ids)
    results: list[dict[str, Any]] = entries
    return results


def check_results(entries: Any, name: str, skeleton: Skeleton, known_ids: set[int] | None = None) -> None:
    """As ``read_results``, on what was read.

    Raises:
        ResultFileError: for the first fault.
    """
    if not isinstance(entries, list):
        raise ResultFileError(
            f"{name}: holds {_article(entries)} at its top; give COCO keypoint results, a list of "
            "{image_id, category_id, keypoints, score}"
        )
    for position, entry in enumerate(entries):
        if (fault := _fault(entry, 3 * skeleton.num_keypoints)) is not None:
            raise ResultFileError(f"{name}: result number {position} {fault}")
    strangers = sorted({entry["image_id"] for entry in entries} - known_ids) if known_ids is not None else []
    if strangers:
        more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
        raise ResultFileError(
            f"{name}: image id {strangers[0]}{more} is not in the annotations; give those of the same split"
        )


def _fault(entry: Any, values: int) -> str | None:
    if not isinstance(entry, dict):
        return f"is {_article(entry)}, not an object"
    for key in ("image_id", "category_id"):
        if type(entry.get(key)) is not int:
            return f"has no whole number as its {key}"
    if not is_number(entry.get("score")):
        return "has no finite number as its score"
    keypoints = entry.get("keypoints")
    if not isinstance(keypoints, list) or not all(is_number(value) for value in keypoints):
        return "has no list of finite numbers as its keypoints"
    if len(keypoints) != values:
        return f"has {len(keypoints)} keypoint values, {values} are expected (x, y, score of each keypoint)"
    return None


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _article(value: Any) -> str:
    kind = {"dict": "an object", "str": "a text", "NoneType": "null"}.get(type(value).__name__)
    return kind or f"a {type(value).__name__}"
