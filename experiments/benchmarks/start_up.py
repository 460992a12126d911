"""How long a command takes to say what it is, beside others' commands, and what importing everything first would cost.

    python -m experiments.benchmarks.start_up

Processor seconds of a process of its own, whatever else the machine does.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median

from experiments.benchmarks.measuring import Line, Setting
from experiments.benchmarks.others import Other, tried

COMMANDS = ("experiments.run", "experiments.data", "experiments.oracle", "experiments.doctor")
LIMIT = 1000.0
"""Milliseconds."""
FIRST, STEPPED = 20_000.0, "inspose"


def processor_time(arguments: list[str]) -> float:
    """Milliseconds of processor time of ``python`` with ``arguments``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def yolo_help() -> Callable[[], float]:
    """Of Ultralytics' command."""
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())  # it writes settings when it is imported
    os.environ.setdefault("YOLO_OFFLINE", "true")
    command = "import sys; sys.argv = ['yolo', 'help']; from ultralytics.cfg import entrypoint; entrypoint()"
    return partial(processor_time, ["-c", command])


def mmpose_help() -> Callable[[], float]:
    """Of MMPose's training script."""
    (folder,) = import_module("mmpose").__path__
    return partial(processor_time, [str(Path(folder, ".mim", "tools", "train.py")), "--help"])


OTHERS = {"Ultralytics": Other("ultralytics", yolo_help), "MMPose": Other("mmpose", mmpose_help)}


_FIRST_STEP = """
import os, sys, time
from experiments.run import main
from lightning_modules.papers import PAPERS, load

def stop(*_):
    os.write(sys.__stdout__.fileno(), f"\\nprocessor {1e3 * time.process_time():.0f}\\n".encode())
    os._exit(0)

paper, root = sys.argv[1:]
load(PAPERS[paper].module).on_train_batch_end = stop
sys.exit(main(["--paper", paper, "--preset", "smoke", f"output.root={root}", "wandb.mode=disabled"]))
"""


def first_step(paper: str) -> float:
    """Milliseconds of processor time until a smoke run's first training step is done, its pictures rendered before."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [sys.executable, "-c", _FIRST_STEP, paper, folder]
        told = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    return float(re.findall(r"^processor (\d+)$", told, re.MULTILINE)[-1])


def lines(setting: Setting) -> list[Line]:
    """``--help`` of the slowest command; the naive form imports what a run needs before it answers. A first step."""
    slowest = max(
        (median(processor_time(["-m", command, "--help"]) for _ in range(3)), command) for command in COMMANDS
    )
    eager = processor_time(["-c", "import experiments.training.session"])
    peers, missing = tried(OTHERS)
    found = {name: run() for name, run in peers.items()}
    note = f"{slowest[1]}, the slowest of {len(COMMANDS)}; naive: torch and Lightning imported first; limit: a second"
    step = f"smoke run of {STEPPED}, all threads; limit: {FIRST / 1e3:.0f} s"
    help_ = Line(
        "--help",
        slowest[0],
        eager,
        min(found.values(), default=None),
        LIMIT,
        against="limit",
        asked=1.0,
        note=note,
        peers=found,
        without={} if found else {"peer": ", ".join(missing)},
    )
    alone = {"naive": "the step needs all that is imported", "peer": "theirs would be another model's step"}
    taken = first_step(STEPPED)
    return [help_, Line("first training step", taken, None, None, FIRST, "ms", "limit", 1.0, step, without=alone)]


def main() -> None:
    print(f"{'first training step':>24} {first_step(STEPPED):13.0f} ms of processor time")
    for command in COMMANDS:
        print(f"{command:>24} --help {processor_time(['-m', command, '--help']):6.0f} ms of processor time")


if __name__ == "__main__":
    main()
