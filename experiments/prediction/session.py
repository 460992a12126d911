"""Reading, computing and writing at the same time: a thread reads and warps, this one computes, a thread writes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from datamodules.image_dataset import Sample
from experiments.prediction.boxes import Boxes, BoxSource
from experiments.prediction.inputs import Kind, Picture, Source, count_pictures, read_pictures
from experiments.prediction.outputs import Writer
from experiments.prediction.overlap import Behind, ahead, in_batches
from experiments.prediction.people import Estimator, People

DEPTH = 4
"""Pictures that may wait between two stages, beside those of a batch."""
LOG_SECONDS = 30.0


class Outcome(NamedTuple):
    images: int
    people: int
    seconds: float
    images_per_s: float
    faults: list[str]
    interrupted: bool


class Looked(NamedTuple):
    """A picture and where in it was looked."""

    picture: Picture
    boxes: Boxes | None


def run(
    estimator: Estimator,
    sources: Sequence[Source],
    boxes: BoxSource | None,
    writer: Writer,
    *,
    batch_size: int,
    max_pixels: int = 100_000_000,
    limit: int | None = None,
) -> Outcome:
    """Find the people of all sources and write them. A camera is looked at frame by frame.

    Raises:
        ValueError: what the estimator, the boxes or the writer refuse.
    """
    faults: list[str] = []
    interrupted, images, start = False, 0, time.monotonic()

    def report(line: str) -> None:
        faults.append(line)
        print(line, file=sys.stderr, flush=True)

    if any(source.kind is Kind.camera for source in sources):
        batch_size = 1
    pictures = read_pictures(sources, report, max_pixels=max_pixels, limit=limit)
    prepared = ahead(prepare(pictures, estimator, boxes), DEPTH + batch_size)
    with writer, Behind[tuple[Looked, People]](lambda found: _write(writer, found), DEPTH) as behind:
        try:
            with Line(count_pictures(sources, limit)) as line:
                for looked, parts in in_batches(prepared, estimator, batch_size):
                    behind.put((looked, estimator.merge(parts)))
                    images += 1
                    line.show(images, time.monotonic() - start)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            prepared.close()  # type: ignore[attr-defined]
    seconds = time.monotonic() - start
    return Outcome(images, writer.num_people, seconds, images / seconds, faults, interrupted)


def prepare(
    pictures: Iterator[Picture], estimator: Estimator, boxes: BoxSource | None
) -> Iterator[tuple[Looked, list[Sample]]]:
    """Each picture with the samples the network is to see of it."""
    for picture in pictures:
        found = None if boxes is None else boxes(picture)
        corners, scores = (None, None) if found is None else found
        yield Looked(picture, found), estimator.make_samples(picture.pixels, picture.image_id, corners, scores)


def _write(writer: Writer, found: tuple[Looked, People]) -> None:
    looked, people = found
    writer.write(looked.picture, people, looked.boxes)


class Line:
    """Progress on the standard error stream: a bar in a terminal, a line every 30 seconds elsewhere."""

    def __init__(self, total: int | None, console: Console | None = None) -> None:
        self.total = total
        self.console = console or Console(file=sys.stderr, soft_wrap=True, highlight=False)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.shown_at = 0.0

    def __enter__(self) -> Line:
        if self.console.is_terminal:
            columns = (BarColumn(bar_width=24), TextColumn("{task.description}"), TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("", total=self.total)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def show(self, images: int, seconds: float) -> None:
        text = f"{images}/{self.total or '?'} images  {images / max(seconds, 1e-9):.1f} images/s"
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=images, description=text)
        elif seconds - self.shown_at >= LOG_SECONDS:
            self.shown_at = seconds
            self.console.print(text)
