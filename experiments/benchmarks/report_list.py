"""Writes finished runs of every row of every table, and measures ``experiments.report --list`` over them.

    python -m experiments.benchmarks.report_list

200 runs by default, seed after seed, each with ``result.json`` and a run's other files (empty). The time is that of a
process of its own, the median of three.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

from experiments.command_line import positive, run_program
from experiments.config import compose, to_plain
from experiments.tables.loader import list_tables, load_tables
from experiments.tables.overrides import row_overrides

RUNS = 200
_OTHER_FILES = 8
"""In each of a run's folders."""


class Listed(NamedTuple):
    seconds: float
    processor_seconds: float


def write_runs(root: Path, runs: int = RUNS) -> None:
    """Finished runs of ``experiments.ablate`` with the recipes' settings, below ``root``."""
    rows = [(table, row) for paper in list_tables() for table in load_tables(paper).values() for row in table.ours]
    composed = {
        (table.paper, table.slug, row.slug): to_plain(compose(table.paper, None, row_overrides(table, row, None)))
        for table, row in rows[:runs]
    }
    for seed, (table, row) in islice(((seed, each) for seed in count() for each in rows), runs):
        config = composed[table.paper, table.slug, row.slug] | {"seed": seed}
        config["wandb"] = config["wandb"] | {"group": f"{table.paper}/{table.slug}/{row.slug}"}
        folder = root / table.paper / f"{table.slug}-{row.slug}-seed{seed}"
        for name in ("checkpoints", "pictures", "wandb"):
            (folder / name).mkdir(parents=True)
            for number in range(_OTHER_FILES):
                (folder / name / str(number)).touch()
        result = {"paper": table.paper, "protocol": "val2017-single-scale", "figures": {"AP": 0.5}, "config": config}
        (folder / "result.json").write_text(json.dumps(result))


def time_list(root: Path, repeats: int = 3) -> Listed:
    """Medians of ``experiments.report --list`` over the runs below ``root``."""
    times = []
    for _ in range(repeats):
        began, before = time.perf_counter(), _processor_time()
        command = [sys.executable, "-m", "experiments.report", "--list", "--runs", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        times.append(Listed(time.perf_counter() - began, _processor_time() - before))
    return Listed(*map(median, zip(*times, strict=True)))


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.report_list",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=positive, default=RUNS, metavar="N")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder), options.runs)
        listed = time_list(Path(folder))
    print(f"{options.runs} runs: {listed.seconds:.2f} s, {listed.processor_seconds:.2f} s of processor time")
    return 0


if __name__ == "__main__":
    run_program(main)
