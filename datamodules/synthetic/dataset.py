"""Writes rendered people to disk in COCO's own layout, once, whoever asks and with however many workers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.config import RenderedConfig
from datamodules.synthetic.coco_format import annotation_of, document
from datamodules.synthetic.scene import render_scene

try:
    import fcntl
except ImportError:  # not on Windows; the rename at the end keeps concurrent writers apart there
    fcntl = None  # type: ignore[assignment]

VERSION = 5
"""Raised with every change of the pictures, so that no cache is mistaken for another."""
SPLITS = ("train2017", "val2017")
_JPEG_QUALITY = 92
_MARKER = "rendered.json"

Progress = Callable[[int, int], None]


def rendered_root(config: RenderedConfig) -> Path:
    """Where the dataset of a configuration is kept: below ``$POSE_DATA``, else ``data`` in the current folder."""
    cast = f"{config.max_people}p{round(100 * config.min_height)}f{round(config.facing)}"
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
    _check(config)
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
            _write(temporary, config, _cores() if workers is None else workers, _reporter(progress))
            temporary.chmod(0o755)
            _move(temporary, root, config)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return root


def _check(config: RenderedConfig) -> None:
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
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def _write(folder: Path, config: RenderedConfig, workers: int, report: Progress) -> None:
    """Render all images of both splits into ``folder``, then gather the annotation files."""
    total = config.train_images + config.val_images
    for split in SPLITS:
        (folder / split).mkdir()
    (folder / "annotations").mkdir()
    workers = max(1, min(workers, total // 16))
    if workers == 1:
        for done, _ in enumerate(render_share(folder, config, 0, 1), start=1):
            report(done, total)
    else:
        _run_workers(folder, config, workers, total, report)
    for split in SPLITS:
        _gather(folder, config, split)
    (folder / _MARKER).write_text(json.dumps(_marker(config)) + "\n")


def _count(config: RenderedConfig, split: str) -> int:
    return config.train_images if split == "train2017" else config.val_images


def render_share(folder: Path, config: RenderedConfig, worker: int, workers: int) -> Iterator[int]:
    """Render every ``workers``-th image, with a JSON file of labels beside each; yields image ids."""
    for number, split in enumerate(SPLITS):
        for index in range(worker, _count(config, split), workers):
            image_id = number * 1_000_000 + index + 1
            rng = np.random.default_rng([config.seed, number, index])
            path = folder / split / f"{image_id:012d}.jpg"
            with _one_thread():
                scene = render_scene(
                    rng, config.size, max_people=config.max_people, min_height=config.min_height, facing=config.facing
                )
                if not cv2.imwrite(str(path), scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
                    raise OSError(f"{path}: could not be written")
            labels = [annotation_of(person, image_id, image_id * 100 + k) for k, person in enumerate(scene.people)]
            (folder / "annotations" / f"{image_id}.json").write_text(json.dumps(labels))
            yield image_id


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Without OpenCV's threads: pictures this small only make them wait for each other."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _run_workers(folder: Path, config: RenderedConfig, workers: int, total: int, report: Progress) -> None:
    """Start and watch plain processes: unlike ``multiprocessing``'s, they need no guard in the caller's script."""
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "datamodules.synthetic", "--worker", str(folder), json.dumps(asdict(config))]
    processes = []
    with contextlib.ExitStack() as stack:
        for worker in range(workers):
            errors = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                [*command, str(worker), str(workers)], env=environment, stdin=subprocess.DEVNULL, stderr=errors
            )
            stack.callback(_end, process)
            processes.append((process, errors))
        while processes:
            process, errors = processes[0]
            with contextlib.suppress(subprocess.TimeoutExpired):
                if process.wait(0.2):
                    errors.seek(0)
                    raise RuntimeError(
                        f"a rendering process failed: {errors.read().decode(errors='replace').strip()[-2000:]}"
                    )
                processes.pop(0)
            report(len(os.listdir(folder / "annotations")), total)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _gather(folder: Path, config: RenderedConfig, split: str) -> None:
    images, annotations = [], []
    for path in sorted((folder / split).glob("*.jpg")):
        labels = folder / "annotations" / f"{int(path.stem)}.json"
        annotations += json.loads(labels.read_text())
        labels.unlink()
        image = {
            "license": 1,
            "file_name": path.name,
            "height": config.size,
            "width": config.size,
            "id": int(path.stem),
        }
        images.append(image)
    description = f"Rendered people, {split}, seed {config.seed}, version {VERSION}"
    content = json.dumps(document(images, annotations, description))
    (folder / "annotations" / f"person_keypoints_{split}.json").write_text(content)
