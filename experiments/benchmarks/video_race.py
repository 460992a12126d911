"""A rendered video, and the forms in which a network can go through it; see ``predict_video``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from datamodules.config import View
from datamodules.contracts import PoseBatch
from datamodules.synthetic.scene import render_scene
from experiments.prediction.boxes import whole_image
from experiments.prediction.cores import plan_streams
from experiments.prediction.inputs import Picture, Source, find_sources, read_pictures
from experiments.prediction.outputs import Writer
from experiments.prediction.overlap import ByItem, see_through
from experiments.prediction.people import Estimator, People
from experiments.prediction.session import Looked, make_batches, run

HEIGHT, WIDTH, SWAY = 480, 640, 60
SCENES = 6
AT_HAND = 48
"""Frames of which batches are made beforehand."""


class Watched(Writer):
    """Notes the process's resident memory, MB, after every picture (Linux)."""

    def __enter__(self) -> Watched:
        self.memory: list[float] = []
        return self

    def write(self, *given: Any) -> None:
        super().write(*given)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


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


Make = Callable[[bool], Estimator]
"""Of a network as trained, or not; see ``Estimator``."""


class Race:
    """The forms on one video.

    Args:
        frames: of it; the last batch may be smaller.
        min_score: people who score less are not drawn.
    """

    def __init__(self, folder: Path, make: Make, frames: int, batch_size: int, min_score: float = 0.0) -> None:
        self.folder, self.batch_size, self.min_score = folder, batch_size, min_score
        self.estimator, self.as_trained = make(False), make(True)
        self.count = frames
        render_video(folder / "video.mp4", self.count)
        self.sources: list[Source] = find_sources([str(folder / "video.mp4")])
        self.boxes = whole_image if self.estimator.make_samples.config.view is View.person else None
        at_hand = max(AT_HAND // batch_size, 1) * batch_size
        made = make_batches(self._read(min(self.count, at_hand)), self.estimator, self.boxes, repeat(batch_size))
        self.some = [batch.samples for batch in made if batch.samples is not None]
        self.memory: list[float] = []

    def batches(self) -> Iterator[PoseBatch]:
        """As many as the video has; some come again, so that few are at hand."""
        whole, rest = divmod(self.count, self.batch_size)
        yield from islice(cycle(self.some), whole)
        if rest:
            yield first(self.some[0], rest)

    def alone(self) -> float:
        return self._rate(lambda: [self.as_trained.compute(batch) for batch in self.batches()])

    def streams(self) -> float:
        plan = plan_streams(self.estimator, self.boxes, -(-self.count // self.batch_size))

        def go() -> None:
            see_through(self.batches(), self.estimator.compute, len, at_once=plan.number, start=plan.start)

        with same_threads():
            return self._rate(go)

    def in_turn(self) -> float:
        def compute(samples: PoseBatch | None) -> list[People]:
            return [] if samples is None else self.as_trained.compute(samples)

        def go() -> None:
            made = make_batches(self._read(self.count), self.as_trained, self.boxes, repeat(self.batch_size))
            by_picture = ByItem[Looked, People]()
            with self._writer(Writer) as writer:
                for batch in made:
                    for (picture, boxes), parts in by_picture.add(batch.begun, compute(batch.samples)):
                        writer.write(picture, self.as_trained.merge(parts), boxes)

        return self._rate(go)

    def predict(self) -> float:
        watched = self._writer(Watched)
        outcome = run(self.estimator, self.sources, self.boxes, watched, batch_size=self.batch_size)
        self.memory = watched.memory
        return outcome.images_per_s

    def _rate(self, go: Callable[[], object]) -> float:
        start = time.perf_counter()
        go()
        return self.count / (time.perf_counter() - start)

    def _read(self, limit: int) -> Iterator[Picture]:
        return read_pictures(self.sources, print, max_pixels=10**9, limit=limit)

    def _writer(self, kind: type[Any]) -> Any:
        draws_boxes = self.boxes is None
        options: dict[str, Any] = {"min_score": self.min_score, "draws": True, "draws_boxes": draws_boxes}
        return kind(self.folder / "out", self.sources, self.estimator.skeleton, keeps_boxes=False, **options)


def first(batch: PoseBatch, count: int) -> PoseBatch:
    """The first ``count`` samples of a batch without masks."""
    persons = type(batch.persons)(*(value[:count] for value in batch.persons))
    meta = type(batch.meta)(*(value[:count] for value in batch.meta))
    return PoseBatch(batch.images[:count], persons, batch.ignore[:count], None, meta)


@contextmanager
def same_threads() -> Iterator[None]:
    """torch's threads are as before at the end."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
