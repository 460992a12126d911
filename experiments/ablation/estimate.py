"""What the runs of a table will cost: measured on a finished one of them, or by a short probe; never guessed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from experiments.ablation.jobs import ROOT, short_time
from experiments.ablation.plan import Job, State
from experiments.merging import ConfigError

PROBE_TIMEOUT = 1800.0


class Cost(NamedTuple):
    """Of one run."""

    seconds: float
    bytes: int
    source: str
    """How it is known."""


def cost_of_finished(jobs: list[Job], states: dict[str, State]) -> Cost | None:
    """Of the longest finished run among the jobs."""
    costs = []
    for job in jobs:
        directory = states[job.name].directory
        if states[job.name].kind != "finished" or directory is None:
            continue
        try:
            seconds = float(json.loads((directory / "result.json").read_text())["wall_time_s"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged file, or one of another version: it tells nothing
        costs.append(Cost(seconds, folder_bytes(directory), f"as {directory.name} took"))
    return max(costs, default=None)


def cost_by_probe(job: Job) -> Cost:
    """Train a few steps of the job and evaluate a few images, in a process of its own and a folder that is removed.

    Raises:
        ConfigError: the probe failed; says why.
    """
    process = subprocess.run(
        [sys.executable, "-m", "experiments.ablation.probe", *job.arguments],
        capture_output=True,
        text=True,
        timeout=PROBE_TIMEOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    if process.returncode != 0:
        lines = process.stderr.strip().splitlines() or ["without a word"]
        raise ConfigError(f"the probe of {job.row.name!r} failed: {lines[-1].removeprefix('error: ')}")
    return cost_from_probe(json.loads(process.stdout.strip().splitlines()[-1]))


def cost_from_probe(measured: dict[str, float]) -> Cost:
    """A whole run from what ``experiments.ablation.probe`` prints; on disk it keeps its best and its last weights."""
    seconds = (
        measured["start_seconds"]
        + measured["batches"] * measured["seconds_per_batch"]
        + measured["evaluations"] * measured["images"] * measured["seconds_per_image"]
    )
    size = 2 * measured["checkpoint_bytes"] + measured["evaluations"] * measured["picture_bytes"]
    source = (
        f"probed: {measured['seconds_per_batch']:.2g} s a batch, {measured['seconds_per_image']:.2g} s an image "
        f"evaluated, {size_text(int(measured['checkpoint_bytes']))} a checkpoint"
    )
    return Cost(seconds, int(size), source)


def total_text(cost: Cost, count: int) -> str:
    """``6 runs: about 40 min and 120 MB (as table1-neither-seed0 took)``."""
    runs = f"{count} run{'s' if count != 1 else ''}"
    return f"{runs}: about {short_time(count * cost.seconds)} and {size_text(count * cost.bytes)} ({cost.source})"


def size_text(count: int) -> str:
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def folder_bytes(directory: Path) -> int:
    """A file under several names counts once."""
    states = [file.stat() for file in directory.rglob("*") if file.is_file() and not file.is_symlink()]
    return sum({(state.st_dev, state.st_ino): state.st_size for state in states}.values())
