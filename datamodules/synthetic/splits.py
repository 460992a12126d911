"""Renders the pictures and labels of both splits, in one process or several: the same bytes however many."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from datamodules.config import RenderedConfig
from datamodules.synthetic.coco_format import annotation_of, document
from datamodules.synthetic.scene import render_scene

VERSION = 5
"""Raised with every change of the pictures, so that no cache is mistaken for another."""
SPLITS = ("train2017", "val2017")
_JPEG_QUALITY = 92

Progress = Callable[[int, int], None]


def render_splits(folder: Path, config: RenderedConfig, workers: int, report: Progress) -> None:
    """Render all images of both splits into ``folder``, then gather the annotation files.

    Args:
        workers: processes, at most one for 16 images; 1 renders in this one.
        report: called with the images done and in all.

    Raises:
        RuntimeError: a worker failed; the message ends with what it said.
    """
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
