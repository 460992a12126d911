"""Prediction on a video against the model alone: reading, warping, drawing and encoding beside inference.

    python -m experiments.benchmarks.predict_video

A rendered video of 300 frames of 640×480 through an InsPose of the demo's size with random weights, on one thread of
torch: the other cores play the part the host plays beside a GPU. ``model alone`` is the batches of the first and the
last third, made beforehand and computed before and after; ``in turn`` does everything of a batch of the first third
before the next. Memory is the largest resident size of the process in each third of the frames.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from datamodules.image_dataset import Sample
from datamodules.skeleton import COCO
from datamodules.synthetic.scene import render_scene
from experiments.benchmarks.measuring import Line, Setting
from experiments.config import RunConfig, compose
from experiments.prediction.inputs import Source, find_sources, read_pictures
from experiments.prediction.outputs import Writer
from experiments.prediction.people import Estimator
from experiments.prediction.session import Looked, prepare, run
from lightning_modules.papers import PAPERS, load

HEIGHT, WIDTH, SWAY = 480, 640, 60
SCENES = 6


class Measured(NamedTuple):
    alone: float
    """Frames per second of the model."""
    in_turn: float
    """Frames per second without overlap."""
    overlapped: float
    """Frames per second of ``experiments.predict``."""
    memory: list[float]
    """MB, in each third of the overlapped run."""


class Watched(Writer):
    """Notes the process's memory after every picture."""

    def __enter__(self) -> Watched:
        self.memory: list[float] = []
        return self

    def write(self, *given: Any) -> None:
        super().write(*given)
        self.memory.append(resident())


def resident() -> float:
    """Resident memory of this process, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def render_video(file: Path, frames: int, scenes: int = SCENES) -> None:
    """``frames`` of rendered people at 25 per second, the camera swaying over one scene after the other."""
    side = WIDTH + 2 * SWAY
    pictures = [render_scene(np.random.default_rng([7, n]), side, max_people=4).image for n in range(scenes)]
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (WIDTH, HEIGHT))
    for frame in range(frames):
        x = round(SWAY * (1 + np.sin(frame / 12)))
        y = round(SWAY * (1 + np.cos(frame / 17))) + (side - HEIGHT) // 2 - SWAY
        window = pictures[frame * scenes // frames][y : y + HEIGHT, x : x + WIDTH]
        writer.write(np.ascontiguousarray(window[..., ::-1]))
    writer.release()


def estimator_of(config: RunConfig) -> Estimator:
    torch.manual_seed(0)
    config.model.backbone.weights = None
    module = load(PAPERS[config.paper].module)(config.model, config.optimizer, COCO).eval()
    return Estimator(module, config.data, COCO, device=torch.device("cpu"))


def model_alone(estimator: Estimator, batches: list[list[Sample]]) -> float:
    """Seconds."""
    start = time.perf_counter()
    for batch in batches:
        for people in estimator(batch):
            estimator.merge([people])
    return time.perf_counter() - start


def in_turn(estimator: Estimator, sources: list[Source], writer: Writer, batch_size: int, frames: int) -> float:
    """Seconds of the first ``frames``: reading, computing, drawing and encoding, one after the other."""
    start = time.perf_counter()
    pending: list[tuple[Looked, list[Sample]]] = []

    def finish() -> None:
        found = estimator([sample for _, samples in pending for sample in samples])
        for (looked, _), people in zip(pending, found, strict=True):
            writer.write(looked.picture, estimator.merge([people]), None)
        pending.clear()

    with writer:
        for item in prepare(read_pictures(sources, print, max_pixels=10**9, limit=frames), estimator, None):
            pending.append(item)
            if len(pending) == batch_size:
                finish()
        if pending:
            finish()
    return time.perf_counter() - start


def measure(folder: Path, frames: int, config: RunConfig, batch_size: int) -> Measured:
    render_video(folder / "video.mp4", frames)
    sources = find_sources([str(folder / "video.mp4")])
    estimator = estimator_of(config)
    looked = prepare(read_pictures(sources, print, max_pixels=10**9), estimator, None)
    samples = [sample for _, own in looked for sample in own]
    batches = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
    third = max(len(batches) // 3, 1)
    first = sum(map(len, batches[:third]))
    options: dict[str, Any] = {"min_score": 0.0, "draws": True, "draws_boxes": True, "keeps_boxes": False}
    estimator(batches[0])
    before = model_alone(estimator, batches[:third])
    turned = in_turn(estimator, sources, Writer(folder / "turn", sources, COCO, **options), batch_size, first)
    watched = Watched(folder / "out", sources, COCO, **options)
    outcome = run(estimator, sources, None, watched, batch_size=batch_size)
    after = model_alone(estimator, batches[-third:])
    thirds = [max(part.tolist()) for part in np.array_split(np.array(watched.memory), 3)]
    both = first + sum(map(len, batches[-third:]))
    return Measured(both / (before + after), first / turned, outcome.images_per_s, thirds)


def lines(setting: Setting) -> list[Line]:
    """Wall time per frame: what overlaps cannot be told from processor time."""
    config = compose("inspose", "demo", ["model.score_threshold=0.005", "model.max_candidates=20"])
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), 300 if setting.full else 40, config, 4)
    alone, turned, overlapped = (1e3 / rate for rate in found[:3])
    note = (
        "wall time; naive: reading, computing, drawing in turn; limit: the model alone (a CPU's, whatever the device)"
    )
    return [Line("video, per frame", overlapped, turned, limit=alone, against="limit", asked=0.9, note=note)]


def main(frames: int = 300, batch_size: int = 4, *overrides: str) -> Measured:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = compose("inspose", "demo", ["model.score_threshold=0.005", "model.max_candidates=20", *overrides])
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), frames, config, batch_size)
    print(f"{'model alone':>14}{'in turn':>14}{'overlapped':>14}  frames/s")
    print(f"{found.alone:14.1f}{found.in_turn:14.1f}{found.overlapped:14.1f}")
    print(f"overlapped / model alone: {found.overlapped / found.alone:.2f}")
    print("memory, MB, by thirds: " + ", ".join(f"{value:.0f}" for value in found.memory))
    return found


if __name__ == "__main__":
    main()
