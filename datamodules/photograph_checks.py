"""Finds photographs that a run would stumble over: missing, leading out of their folder, damaged, of another size."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from datamodules.annotation_rules import Complaint
from datamodules.annotations import Annotations
from datamodules.photographs import ImageError, check_photograph, read_photograph

_THREADS = 8
"""Network file systems answer slowly but many at once."""


def missing_photographs(annotations: Annotations) -> tuple[NDArray[np.int64], list[Complaint]]:
    """Numbers of the images whose file is not there, or is a link out of ``images_dir``, and a complaint for each.

    Lists each folder once instead of asking for each file: network file systems answer that a thousand times faster.
    """
    root = os.path.realpath(annotations.images_dir)
    listings: dict[str, dict[str, bool]] = {}
    bad: list[int] = []
    complaints: list[Complaint] = []
    for number, encoded in enumerate(annotations.file_names.tolist()):
        folder, _, name = encoded.decode().rpartition("/")
        if folder not in listings:
            listings[folder] = _list_folder(root, folder)
        inside = listings[folder].get(name)
        if inside:
            continue
        path = annotations.path(number)
        what, fix = (
            (f"its photograph {path} is missing", "put it there, or set data.on_bad_image=skip")
            if inside is None
            else (f"its photograph {path} is a link out of {annotations.images_dir}", "copy the file there")
        )
        bad.append(number)
        complaints.append(_of_image(annotations, number, what, fix))
    return np.array(bad, dtype=np.int64), complaints


def _list_folder(root: str, folder: str) -> dict[str, bool]:
    """Names of the files in ``root/folder``, and whether each really lies below ``root``."""
    path = os.path.join(root, folder)
    inside = _is_below(os.path.realpath(path), root)
    try:
        with os.scandir(path) as entries:
            return {
                entry.name: inside and (not entry.is_symlink() or _is_below(os.path.realpath(entry.path), root))
                for entry in entries
                if entry.is_file()
            }
    except OSError:
        return {}


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def unreadable_photographs(
    annotations: Annotations,
    max_pixels: int,
    *,
    decode: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[NDArray[np.int64], list[Complaint]]:
    """Numbers of the images whose file is not what the annotation says, and a complaint for each.

    Reads format, size and end of each file; ``decode`` reads all of it. ``progress`` is called with the images done and
    in all.
    """
    check = read_photograph if decode else check_photograph

    def fault(number: int) -> str | None:
        height, width = annotations.image_hw[number].tolist()
        try:
            check(annotations.path(number), (height, width), max_pixels)
        except ImageError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(_THREADS) as pool:
        faults = []
        for text in pool.map(fault, range(annotations.num_images)):
            faults.append(text)
            progress(len(faults), annotations.num_images)
    bad = [number for number, text in enumerate(faults) if text is not None]
    complaints = []
    for number in bad:
        what, _, fix = str(faults[number]).rpartition("; ")
        complaints.append(_of_image(annotations, number, what, fix))
    return np.array(bad, dtype=np.int64), complaints


def _of_image(annotations: Annotations, number: int, what: str, fix: str) -> Complaint:
    return Complaint("error", str(annotations.file), "image", int(annotations.image_ids[number]), what, fix)
