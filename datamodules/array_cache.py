"""Named arrays kept between processes in the user's cache folder: what takes long to make is made once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_KEPT = 8
"""Entries, the most recently used ones; a changed annotation file leaves its old entry behind."""


def cache_folder() -> Path | None:
    """``$XDG_CACHE_HOME/pose-papers/annotations``, by default under ``~/.cache``; None where nobody has a home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return base / "pose-papers" / "annotations"


def load_arrays(key: str) -> dict[str, NDArray] | None:
    """The arrays stored under ``key``; None where there are none, or a damaged file, whatever the damage."""
    folder = cache_folder()
    if folder is None:
        return None
    file = folder / f"{key}.npz"
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}  # the archive's checksums are compared here
    except Exception:  # damaged bytes can say anything; what they should have said is made anew
        return None
    with suppress(OSError):
        os.utime(file)
    return arrays


def store_arrays(key: str, arrays: Mapping[str, NDArray]) -> bool:
    """Store ``arrays`` under ``key``, whole or not at all, whoever else does; whether it was possible.

    A folder that cannot be written to, or a full disk, is no error: the arrays are made anew the next time.
    """
    folder = cache_folder()
    if folder is None:
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
    except OSError:
        return False
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **dict(arrays))  # type: ignore[arg-type]  # NumPy's stub takes them for its own keywords
        os.replace(name, folder / f"{key}.npz")
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        return False
    _forget_old(folder)
    return True


def _forget_old(folder: Path) -> None:
    with suppress(OSError):
        used = sorted(folder.glob("*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in used[_KEPT:]:
            file.unlink(missing_ok=True)
