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
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cv2
import torch

from datamodules.skeleton import COCO
from experiments.benchmarks.end_to_end import FROM_THE_START
from experiments.benchmarks.measuring import Line, Setting
from experiments.benchmarks.video_race import Race, same_threads
from experiments.checkpoint import load_trained, without_pretrained
from experiments.config import RunConfig, compose
from experiments.predict import CPU_BATCH
from experiments.prediction.people import Estimator
from lightning_modules.papers import PAPERS, load

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


def untrained(config: RunConfig, as_trained: bool) -> Estimator:
    torch.manual_seed(0)
    config.model = without_pretrained(config.model)
    module = load(PAPERS[config.paper].module)(config.model, config.optimizer, COCO).eval()
    return Estimator(module, config.data, COCO, device=torch.device("cpu"), as_trained=as_trained)


def trained(run: Path, overrides: list[str], as_trained: bool) -> Estimator:
    found = load_trained(run, overrides)
    device = torch.device("cpu")
    return Estimator(found.module, found.config.data, found.skeleton, device=device, as_trained=as_trained)


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
