"""Writes rendered people to disk in COCO's own layout, once, whoever asks and with however many workers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from datamodules.config import RenderedConfig
from datamodules.cores import usable_cores
from datamodules.synthetic.splits import VERSION, Progress, render_splits

_MARKER = "rendered.json"


def rendered_root(config: RenderedConfig) -> Path:
    """Where the dataset of a configuration is kept: below ``$POSE_DATA``, else ``data`` in the current folder."""
    cast = f"{config.max_people}p{100 * config.min_height:g}f{config.facing:g}"
    name = f"{config.size}-{config.train_images}-{config.val_images}-{config.seed}-{cast}-v{VERSION}"
    return Path(os.environ.get("POSE_DATA") or "data") / "rendered" / name


def make_dataset(
    root: Path, config: RenderedConfig, *, workers: int | None = None, progress: Progress | bool = False
) -> Path:
    """Render a dataset into ``root`` unless it is there already.

    Writes ``annotations/person_keypoints_<split>.json`` and ``<split>/<image id>.jpg`` for the splits train2017 and
    val2017. Every image has its own random numbers, from ``config.seed``, its split and its index alone: the files are
    the same bytes whatever ``workers`` is. A dataset appears at ``root`` whole or not at all; of several processes that
    ask for it at once, one renders and the others wait.

    Args:
        workers: processes; None takes the machine's cores, 1 renders in this one.
        progress: called with the images done and in all, from this thread; True writes a line to stderr.

    Returns:
        ``root``.

    Raises:
        ValueError: ``config`` makes no sense, or ``root`` holds something else; the message names the key or folder.
        RuntimeError: a worker failed; the message ends with what it said.
    """
    check(config)
    root = Path(root)
    if _is_finished(root, config):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with _locked(root.parent / f".{root.name}.lock"):
        if _is_finished(root, config):
            return root
        for abandoned in root.parent.glob(f".{root.name}.*/"):
            shutil.rmtree(abandoned, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        try:
            render_splits(temporary, config, usable_cores() if workers is None else workers, _reporter(progress))
            (temporary / _MARKER).write_text(json.dumps(_marker(config)) + "\n")
            temporary.chmod(0o755)
            _move(temporary, root, config)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return root


def check(config: RenderedConfig) -> None:
    """Raises:
    ValueError: ``config`` makes no sense; the message names the key.
    """
    for key, least in (("train_images", 0), ("val_images", 0), ("size", 32), ("seed", 0), ("max_people", 0)):
        if getattr(config, key) < least:
            raise ValueError(f"data.rendered.{key}: {getattr(config, key)}, expected at least {least}")
    if not 0 <= config.min_height <= 1:
        raise ValueError(f"data.rendered.min_height: {config.min_height}, expected a fraction of the image, 0 to 1")
    if not 0 <= config.facing <= 180:
        raise ValueError(f"data.rendered.facing: {config.facing}, expected degrees, 0 to 180")


def _marker(config: RenderedConfig) -> dict[str, Any]:
    return {**asdict(config), "version": VERSION}


def _is_finished(root: Path, config: RenderedConfig) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / _MARKER).read_text())
    except (OSError, ValueError):
        found = None
    if found != _marker(config):
        what = "no rendered dataset" if found is None else f"the rendered dataset {found}"
        raise ValueError(f"{root}: holds {what}, not {_marker(config)}; choose another folder or remove it")
    return True


def _move(temporary: Path, root: Path, config: RenderedConfig) -> None:
    try:
        os.rename(temporary, root)  # replaces an empty folder
    except OSError:
        if not _is_finished(root, config):  # else another process without a lock was faster
            raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        if sys.platform != "win32":  # there the rename at the end keeps concurrent writers apart
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _reporter(progress: Progress | bool) -> Progress:
    if callable(progress):
        return progress
    if not progress:
        return lambda done, total: None

    is_terminal = sys.stderr.isatty()
    said = -1

    def report(done: int, total: int) -> None:
        nonlocal said
        tenth = 10 * done // max(total, 1)
        if is_terminal:
            print(f"\rrendering people: {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif tenth > said:  # a log wants few lines
            print(f"rendering people: {done}/{total}", file=sys.stderr, flush=True)
        said = tenth

    return report
