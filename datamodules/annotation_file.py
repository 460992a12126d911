"""From an annotation file to COCO's three lists, or one line that says why not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datamodules.annotation_rules import Complaint


class AnnotationError(ValueError):
    """Annotations that cannot be used. The message is one line; ``complaints`` holds every fault found."""

    def __init__(self, complaints: list[Complaint], advice: str = "") -> None:
        self.complaints = tuple(complaints)
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        super().__init__(f"{complaints[0]}{more}{advice}")


def read_bytes(file: Path) -> bytes:
    """The content of ``file``.

    Raises:
        AnnotationError: missing or not readable.
    """
    with _readable(file):
        return file.read_bytes()


def size_and_digest(file: Path) -> tuple[int, bytes]:
    """Bytes and SHA-256 of ``file``, which is never in memory as a whole.

    Raises:
        AnnotationError: missing or not readable.
    """
    digest = hashlib.sha256()
    with _readable(file), file.open("rb") as content:
        while part := content.read(1 << 20):
            digest.update(part)
        return content.tell(), digest.digest()


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        fix = "correct data.root and the split, or get COCO with `python -m experiments.data download --root DIR`"
        raise AnnotationError([of_file(str(file), "there is no such annotation file", fix)]) from None
    except OSError as error:
        raise AnnotationError([of_file(str(file), f"cannot be read: {error.strerror}", "correct it")]) from error


def parse_lists(data: bytes, name: str) -> dict[str, list[Any]]:
    """The three lists of a COCO file.

    Raises:
        AnnotationError: not JSON, or not COCO's layout.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        what = f"is not complete JSON ({str(error).splitlines()[0]})"
        raise AnnotationError([of_file(name, what, "download or write it again")]) from error
    if not isinstance(content, dict):
        what = f"holds a {type(content).__name__} at its top, not an object"
        fix = "give COCO annotations (images, annotations, categories), not results"
        raise AnnotationError([of_file(name, what, fix)])
    if Path(name).name.startswith("image_info_"):  # COCO's lists of test images
        content.setdefault("annotations", [])
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            found = f"{key!r} is a {type(content[key]).__name__}, no list" if key in content else f"has no list {key!r}"
            raise AnnotationError([of_file(name, found, "give a COCO person_keypoints file")])
    return content


def of_file(name: str, what: str, fix: str) -> Complaint:
    """An error of the file named ``name`` as a whole."""
    return Complaint("error", name, "file", None, what, fix)
