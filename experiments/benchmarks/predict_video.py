"""Prediction on a video against the model alone: reading, warping, drawing and encoding beside inference.

    python -m experiments.benchmarks.predict_video
    python -m experiments.benchmarks.predict_video --checkpoint runs/inspose/NAME --batch 4
    python -m experiments.benchmarks.predict_video --paper ssn --preset none --threads 1

A rendered video of 640×480 goes through a checkpoint or, with random weights, through an InsPose of the demo's size;
papers that look at one person at a time take each frame as one. Forms, in turn:

alone      the network as trained and its decoding, up to people on the host, of batches made beforehand
streams    the network as ``experiments.predict`` asks it, as many batches at once, nothing beside it: its bound
in turn    the network as trained; everything of a batch before the next: reading, computing, drawing, encoding
predict    ``experiments.predict``, of the whole video

Each has as many frames in the same batches and the same number of torch's threads: one, where the other cores play the
part that the host plays beside a GPU, and all, where whatever is done beside the model takes its cores. Memory is the
resident size of the process once frame 50 and the last are written. Wall time: other programs that run meanwhile are
told, and spoil it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice, repeat
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from datamodules.config import View
from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from datamodules.synthetic.scene import render_scene
from experiments.benchmarks.end_to_end import FROM_THE_START
from experiments.benchmarks.measuring import Line, Setting
from experiments.checkpoint import load_trained, without_pretrained
from experiments.config import RunConfig, compose
from experiments.predict import CPU_BATCH
from experiments.prediction.boxes import whole_image
from experiments.prediction.cores import plan_streams
from experiments.prediction.inputs import Picture, Source, find_sources, read_pictures
from experiments.prediction.outputs import Writer
from experiments.prediction.overlap import by_item, in_order
from experiments.prediction.people import Estimator, People
from experiments.prediction.session import make_batches, run
from lightning_modules.papers import PAPERS, load

HEIGHT, WIDTH, SWAY = 480, 640, 60
SCENES = 6
AT_HAND = 48
"""Frames of which batches are made beforehand."""
MIN_SCORE = 0.3
"""As ``experiments.predict`` draws a trained network's people."""
EARLY = 50
"""The frame after which memory is to stay as it is."""
DEMO = ("model.score_threshold=0.005", "model.max_candidates=20")
"""Random weights find people too."""


class Measured(NamedTuple):
    """Frames per second, medians of all rounds."""

    threads: int
    """Of torch."""
    alone: float
    streams: float
    in_turn: float
    predict: float
    memory: tuple[float, float]
    """MB, after frame ``EARLY`` and at the end of the last round."""
    others: float
    """Cores that other programs took meanwhile."""


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


def untrained(config: RunConfig, as_trained: bool) -> Estimator:
    torch.manual_seed(0)
    config.model = without_pretrained(config.model)
    module = load(PAPERS[config.paper].module)(config.model, config.optimizer, COCO).eval()
    return Estimator(module, config.data, COCO, device=torch.device("cpu"), as_trained=as_trained)


def trained(run: Path, overrides: list[str], as_trained: bool) -> Estimator:
    found = load_trained(run, overrides)
    device = torch.device("cpu")
    return Estimator(found.module, found.config.data, found.skeleton, device=device, as_trained=as_trained)


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
        plan = plan_streams(self.estimator, -(-self.count // self.batch_size))
        with same_threads():
            return self._rate(lambda: list(in_order(self.batches(), self.estimator.compute, plan.number, plan.start)))

    def in_turn(self) -> float:
        def compute(samples: PoseBatch | None) -> list[People]:
            return [] if samples is None else self.as_trained.compute(samples)

        def go() -> None:
            made = make_batches(self._read(self.count), self.as_trained, self.boxes, repeat(self.batch_size))
            with self._writer(Writer) as writer:
                for (picture, boxes), parts in by_item((batch.begun, compute(batch.samples)) for batch in made):
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


def measure(race: Race, threads: int, rounds: int) -> Measured:
    """All forms once a round, one after the other, so that a slow machine hurts all alike."""
    rates: dict[str, list[float]] = {"alone": [], "streams": [], "in_turn": [], "predict": []}
    with same_threads():
        torch.set_num_threads(threads)
        race.estimator.compute(race.some[0]), race.as_trained.compute(race.some[0])
        start, ours, all_of_us = time.perf_counter(), time.process_time(), busy()
        for _ in range(rounds):
            for name, found in rates.items():
                found.append(getattr(race, name)())
        seconds = time.perf_counter() - start
    others = ((busy() - all_of_us) - (time.process_time() - ours)) / seconds
    memory = (race.memory[min(EARLY, len(race.memory)) - 1], race.memory[-1])
    alone, streams, in_turn, predict = (median(found) for found in rates.values())
    return Measured(threads, alone, streams, in_turn, predict, memory, max(others, 0.0))


@contextmanager
def same_threads() -> Iterator[None]:
    """torch's threads are as before at the end."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def busy() -> float:
    """Processor seconds of all programs since the machine began (Linux)."""
    user, nice, system = (int(value) for value in Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def lines(setting: Setting) -> list[Line]:
    """Wall time per frame: what overlaps cannot be told from processor time."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        make = partial(untrained, compose("inspose", "demo", list(DEMO)))
        race = Race(Path(folder), make, 300 if setting.full else 48, CPU_BATCH)
        found = [measure(race, threads, 3) for threads in sorted({1, cores})]
    return [_line(measured, cores) for measured in found]


def _line(found: Measured, cores: int) -> Line:
    where = f"model on {found.threads} of {cores} cores"
    bound = f"{1e3 / found.streams:.1f} as predict asks it with nothing beside it"
    others = f"other programs took {found.others:.1f} cores"
    note = f"wall time; naive: in turn; limit: the model alone as trained ({bound}); {others}"
    ours, in_turn, alone = (1e3 / rate for rate in (found.predict, found.in_turn, found.alone))
    none = {"peer": "another model's network would be all of it; inference compares those"}
    why = "the first and last batches of so few frames have nothing beside them"
    why += ", and no core is left to reading and drawing" if found.threads == cores else ""
    columns = (ours, in_turn, None, alone)
    return Line(
        f"video, per frame, {where}", *columns, against="limit", asked=1.0, note=note, without=none, why_behind=why
    )


def main(arguments: list[str] | None = None) -> list[Measured]:
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    if options.checkpoint is not None:
        make = partial(trained, options.checkpoint, options.set)
    else:
        preset = None if options.preset == "none" else options.preset
        own = {"inspose": list(DEMO), "ssn": [FROM_THE_START]}.get(options.paper, [])
        make = partial(untrained, compose(options.paper, preset, [*own, *options.set]))
    threads = options.threads or sorted({1, os.cpu_count() or 1})
    with tempfile.TemporaryDirectory() as folder:
        min_score = MIN_SCORE if options.checkpoint else 0.0  # random weights are sure of nothing
        race = Race(Path(folder), make, options.frames, options.batch, min_score)
        print(f"input {list(race.some[0].images.shape)}, {race.count} frames, medians of {options.rounds}")
        print("threads   alone  streams  in turn  predict  frames/s   / alone  / streams  MB: frame 50, last  others")
        found = [measure(race, count, options.rounds) for count in threads]
    for row in found:
        rates = f"{row.alone:8.2f} {row.streams:8.2f} {row.in_turn:8.2f} {row.predict:8.2f}"
        ratios = f"{row.predict / row.alone:18.2f} {row.predict / row.streams:10.2f}"
        memory = f"{row.memory[0]:13.0f} {row.memory[1]:5.0f}"
        print(f"{row.threads:7d} {rates} {ratios} {memory} {row.others:7.1f} cores")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.predict_video",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, metavar="RUN", help="folder of a run, or a .ckpt file")
    add("--paper", choices=tuple(PAPERS), default="inspose", help="random weights of this one")
    add("--preset", default="demo", help="of its configuration; none is the paper's own size")
    add("--set", action="append", default=[], metavar="KEY=VALUE")
    add("--frames", type=int, default=300)
    add("--batch", type=int, default=CPU_BATCH)
    add("--rounds", type=int, default=3)
    add("--threads", type=int, action="append", help="of torch; repeatable; default: one, and all")
    return parser


if __name__ == "__main__":
    main()
