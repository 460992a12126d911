"""How long a command takes to say what it is, and what importing everything first would cost.

    python -m experiments.benchmarks.start_up

Processor seconds of a process of its own, whatever else the machine does.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from statistics import median

from experiments.benchmarks.measuring import Line, Setting

COMMANDS = ("experiments.run", "experiments.data", "experiments.oracle", "experiments.doctor")
LIMIT = 1000.0
"""Milliseconds."""


def processor_time(arguments: list[str]) -> float:
    """Milliseconds of processor time of ``python`` with ``arguments``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def lines(setting: Setting) -> list[Line]:
    """``--help`` of the slowest command; the naive form imports what a run needs before it answers."""
    slowest = max(
        (median(processor_time(["-m", command, "--help"]) for _ in range(3)), command) for command in COMMANDS
    )
    eager = processor_time(["-c", "import experiments.training.session"])
    note = f"{slowest[1]}, the slowest of {len(COMMANDS)}; naive: torch and Lightning imported first; limit: a second"
    return [Line("--help", slowest[0], eager, limit=LIMIT, against="limit", asked=1.0, note=note)]


def main() -> None:
    for command in COMMANDS:
        print(f"{command:>24} --help {processor_time(['-m', command, '--help']):6.0f} ms of processor time")


if __name__ == "__main__":
    main()
