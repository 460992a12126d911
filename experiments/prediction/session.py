"""Reading, computing and writing at the same time: while some batches are computed, others are read, drawn, written."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from datamodules.contracts import PoseBatch
from datamodules.image_dataset import Sample
from experiments.command_line import MOST_LINES, say
from experiments.prediction.boxes import Boxes, BoxSource, whole_image
from experiments.prediction.cores import plan_streams, shared_cores
from experiments.prediction.inputs import Kind, Picture, Source, count_pictures, read_pictures
from experiments.prediction.outputs import Writer
from experiments.prediction.overlap import ByItem, grouped, see_through
from experiments.prediction.people import Estimator, People
from experiments.progress import Line


class Outcome(NamedTuple):
    images: int
    people: int
    drawn: int
    """Those of them who score enough; 0 where nothing is drawn."""
    seconds: float
    images_per_s: float
    faults: list[str]
    interrupted: bool


class Looked(NamedTuple):
    """A picture and where in it was looked."""

    picture: Picture
    boxes: Boxes | None


class Batch(NamedTuple):
    """Ready for the network."""

    begun: list[tuple[Looked, int]]
    """Pictures that came with it, and how many samples each has; see ``overlap.Group``."""
    samples: PoseBatch | None
    """None where these pictures have none."""


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
        if len(faults) <= MOST_LINES:
            say(line)

    is_live = any(source.kind is Kind.camera for source in sources)
    batch_size = 1 if is_live else batch_size
    total = count_pictures(sources, limit)
    streams = plan_streams(estimator, boxes, 1 if is_live else total and -(-total // batch_size))
    threads = 1 if estimator.device.type == "cpu" else None
    pictures = read_pictures(sources, report, max_pixels=max_pixels, limit=limit, decoding_threads=threads)
    samples = total if boxes is None or boxes is whole_image else None
    made = make_batches(pictures, estimator, boxes, streams.batch_sizes(batch_size, samples))
    line, by_picture = Line(total), ByItem[Looked, People]()

    def compute(batch: Batch) -> tuple[list[tuple[Looked, int]], list[People]]:
        return batch.begun, [] if batch.samples is None else estimator.compute(batch.samples)

    def write(computed: tuple[list[tuple[Looked, int]], list[People]]) -> None:
        nonlocal images
        for (picture, looked_at), parts in by_picture.add(*computed):
            writer.write(picture, estimator.merge(parts), looked_at)
            images += 1
            line.show(images, time.monotonic() - start)

    with shared_cores(), writer, closing(made), line:
        try:
            see_through(made, compute, write, at_once=streams.number, beside=streams.beside, start=streams.start)
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.monotonic() - start
    return Outcome(images, writer.num_people, writer.num_drawn, seconds, images / seconds, faults, interrupted)


def prepare(
    pictures: Iterable[Picture], estimator: Estimator, boxes: BoxSource | None
) -> Iterator[tuple[Looked, list[Sample]]]:
    """Each picture with the samples the network is to see of it."""
    for picture in pictures:
        found = None if boxes is None else boxes(picture)
        corners, scores = (None, None) if found is None else found
        yield Looked(picture, found), estimator.make_samples(picture.pixels, picture.image_id, corners, scores)


def make_batches(
    pictures: Iterable[Picture], estimator: Estimator, boxes: BoxSource | None, sizes: Iterable[int]
) -> Generator[Batch, None, None]:
    """All that a host does before the network, as many samples at a time as ``sizes`` say, which do not end."""
    for begun, samples in grouped(prepare(pictures, estimator, boxes), sizes):
        yield Batch(begun, estimator.prepare(samples) if samples else None)
