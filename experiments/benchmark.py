"""Every hot path against its naive form, its peers and the limit, in one run, as one table.

    python -m experiments.benchmark
    python -m experiments.benchmark --only data_path --only ssn_shift
    python -m experiments.benchmark --device cuda --compile --data /path/to/coco

A complete run writes benchmarks/<device>.json and benchmarks/README.md; one with --only prints its table. Each
benchmark tells more by itself: python -m experiments.benchmarks.ssn_shift

exit codes: 0 done, whether or not every line reaches what is asked of it; 2 refused.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib import import_module
from pathlib import Path

from experiments.benchmarks.measuring import Line, Setting
from experiments.command_line import REFUSED, run_program

BENCHMARKS = (
    "start_up",
    "annotations",
    "worker_memory",
    "data_path",
    "targets",
    "ssn_shift",
    "inspose_kp_nets",
    "ssa_attention",
    "ssa_grouping",
    "paf_assembly",
    "guided_points",
    "suppression",
    "evaluation",
    "end_to_end",
    "training_step",
    "vitals",
    "predict_video",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    unknown = [name for name in options.only if name not in BENCHMARKS]
    if unknown:
        return _refuse(f"unknown benchmark {unknown[0]!r} (choose from {', '.join(BENCHMARKS)})")
    if options.data is not None and not (options.data / "annotations").is_dir():
        return _refuse(f"--data {options.data}: holds no annotations/; give a folder in COCO's layout")
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        return _refuse("--device cuda: no GPU is to be seen; leave it out to measure the CPU")
    from experiments.benchmarks.table import as_json, machine, print_table, write

    setting = Setting(options.device, options.full, options.compile, options.data)
    torch.set_num_threads(1)
    start = time.perf_counter()
    lines = measure(options.only or BENCHMARKS, setting)
    seconds, where = time.perf_counter() - start, machine(setting)
    if options.json:
        print(json.dumps(as_json(lines, where, seconds)))
    else:
        print_table(lines)
    if not options.only:
        print(f"result    {write(options.out, lines, where, seconds)}", file=sys.stderr)
    return 0


def measure(names: tuple[str, ...] | list[str], setting: Setting) -> list[Line]:
    """The lines of the benchmarks ``names``, one after the other."""
    found: list[Line] = []
    for name in names:
        start = time.perf_counter()
        found += import_module(f"experiments.benchmarks.{name}").lines(setting)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return found


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmark",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="LINE", help=f"one of {', '.join(BENCHMARKS)}; repeatable")
    add("--full", action="store_true", help="more sizes and more repeats")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--compile", action="store_true", help="torch.compile the networks")
    add("--data", type=Path, metavar="ROOT", help="photographs in COCO's layout; rendered people by default")
    add("--out", type=Path, default=Path("benchmarks"), metavar="DIR", help="where a complete run is written")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    return parser


if __name__ == "__main__":
    run_program(main)
