"""Named arrays kept between processes in the user's cache folder: what takes long to make is made once.

An entry is one file: a line of JSON that names the arrays, then their bytes, aligned. Processes map it instead of
reading it, so that all of a node share one copy in memory.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_KEPT = 8
"""Entries, the most recently used ones; a changed annotation file leaves its old entry behind."""
_UNUSED_SECONDS = 30 * 24 * 3600.0
"""An older entry is removed only after so long: on a network file system another node may still have it mapped, and
would be killed when it touches a removed file."""
_ALIGNMENT = 64
_PATIENCE = 600.0
"""Seconds that one process waits for another to make an entry."""


def cache_folder() -> Path | None:
    """``$XDG_CACHE_HOME/pose-papers/annotations``, by default under ``~/.cache``; None where nobody has a home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return base / "pose-papers" / "annotations"


def load_arrays(key: str) -> dict[str, NDArray] | None:
    """The arrays stored under ``key``, mapped and read-only; None where there are none, or a damaged file."""
    folder = cache_folder()
    if folder is None:
        return None
    file = folder / f"{key}.arrays"
    try:
        with file.open("rb") as stored:
            arrays = _mapped(stored)
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
            _write(file, arrays)
        os.replace(name, folder / f"{key}.arrays")
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        return False
    _forget_old(folder)
    return True


@contextmanager
def alone_with(key: str, patience: float = _PATIENCE) -> Iterator[bool]:
    """Lets one process make the entry ``key`` while the others of its node wait for it.

    A file lock ends with its process, so that none is left behind. Where the folder has no locks, nobody waits.

    Args:
        patience: seconds to wait.

    Yields:
        True for the process that is to make it, while it holds the lock; False after another process is done with it,
        or has held the lock for longer than ``patience``.
    """
    folder = cache_folder()
    try:
        if folder is None:
            raise OSError
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / f"{key}.lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield True
        return
    try:
        is_maker = _try_lock(descriptor)
        end = time.monotonic() + patience
        while not is_maker and time.monotonic() < end and not _try_lock(descriptor):
            time.sleep(0.1)
        yield is_maker
    finally:
        if is_maker:
            with suppress(OSError):
                os.unlink(lock)
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _write(file: IO[bytes], arrays: Mapping[str, NDArray]) -> None:
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    entries, place = {}, 0
    for name, array in plain.items():
        entries[name] = (array.dtype.str, array.shape, place, zlib.crc32(_bytes(array)))
        place += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    text = json.dumps({"size": place, "arrays": entries}).encode()
    line = b"%08x %s" % (zlib.crc32(text), text)
    file.write(line + b" " * (-(len(line) + 1) % _ALIGNMENT) + b"\n")
    for array in plain.values():
        file.write(_bytes(array))
        file.write(b"\0" * (-array.nbytes % _ALIGNMENT))


def _bytes(array: NDArray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _mapped(file: IO[bytes]) -> dict[str, NDArray]:
    """Raises ValueError, or whatever else damaged bytes lead to, where a checksum is not the content's."""
    line = file.readline()
    text = line[9:].rstrip()
    if int(line[:8], 16) != zlib.crc32(text):
        raise ValueError("the first line is damaged")
    header: dict[str, Any] = json.loads(text)
    content = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)[len(line) :]
    if len(content) != header["size"]:
        raise ValueError("the file is cut off")
    arrays = {}
    for name, (dtype, shape, place, checksum) in header["arrays"].items():
        kind = np.dtype(dtype)
        piece = content[place : place + kind.itemsize * int(np.prod(shape, dtype=np.int64))]
        if zlib.crc32(piece.data) != checksum:
            raise ValueError(f"{name} is damaged")
        arrays[name] = piece.view(kind).reshape(shape)
    return arrays


def _forget_old(folder: Path) -> None:
    with suppress(OSError):
        entries = [*folder.glob("*.arrays"), *folder.glob("*.npz")]  # npz: the format before
        used = sorted(((file.stat().st_mtime, file) for file in entries), reverse=True)
        for last_use, file in used[_KEPT:]:
            if last_use < time.time() - _UNUSED_SECONDS:
                file.unlink(missing_ok=True)
