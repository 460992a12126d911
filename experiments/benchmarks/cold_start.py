"""Time and memory of a start on several ranks of one node: each process imports, reads the annotations and waits.

    python -m experiments.benchmarks.coco_size --root DIR
    python -m experiments.benchmarks.cold_start --root DIR --ranks 4

Every rank sets up ``CocoDataModule`` as a training does. ``cold`` starts with an empty cache of its own, ``cached``
starts again with what the first start left. The time is until the last rank is ready. Memory is the proportional set
size (a page that n processes share counts as 1/n in each), summed over the ranks: the highest of ten samples a second,
and what is left when all are ready. Linux only.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from experiments.command_line import run_program

_RANK = """
import sys
from datamodules.coco import CocoDataModule
from datamodules.config import DataConfig, DetectionsConfig, View
from datamodules.skeleton import COCO

root, view, detections = sys.argv[1:]
config = DataConfig(root=root, view=View[view], detections=DetectionsConfig(file=detections or None))
data = CocoDataModule(config, COCO)
data.setup("fit")
print("ready", flush=True)
sys.stdin.read()
"""


class Start(NamedTuple):
    seconds: float
    """Until every rank was ready."""
    highest_mb: float
    """Proportional set sizes, summed."""
    ready_mb: float
    processor_seconds: float
    """Of all ranks together."""


def start(root: Path, ranks: int, cache: Path, view: str = "image", detections: str = "") -> Start:
    """Start ``ranks`` processes at once, wait until all are ready, and end them.

    Raises:
        RuntimeError: a rank ended early.
    """
    command = [sys.executable, "-c", _RANK, str(root), view, detections]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "XDG_CACHE_HOME": str(cache), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(ranks)
    ]
    waiting, highest = list(processes), 0.0
    for process in processes:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
    while waiting:
        for process in processes:
            if process.poll() is not None:
                raise RuntimeError(f"a rank ended before it was ready, with exit code {process.returncode}")
        highest = max(highest, _memory(processes))
        waiting = [process for process in waiting if not process.stdout or not process.stdout.read()]
        time.sleep(0.1)
    seconds, ready = time.perf_counter() - began, _memory(processes)
    for process in processes:
        process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Start(seconds, max(highest, ready), ready, used)


def _memory(processes: list[subprocess.Popen[bytes]]) -> float:
    """MB, proportional set sizes summed."""
    total = 0
    for process in processes:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        total += sum(int(value) for value in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE))
    return total / 1000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.cold_start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder in COCO's layout")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--view", choices=("image", "person"), default="image")
    parser.add_argument("--detections", default="", metavar="FILE", help="boxes of the person view's validation")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "cached"):
            found = start(options.root, options.ranks, Path(folder), options.view, options.detections)
            print(
                f"{name:>7}: {found.seconds:5.1f} s, {found.processor_seconds:.1f} s of processor time; "
                f"memory at most {found.highest_mb:,.0f} MB, {found.ready_mb:,.0f} MB when ready"
            )
    return 0


if __name__ == "__main__":
    run_program(main)
