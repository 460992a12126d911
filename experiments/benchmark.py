"""Every hot path against its naive form, one after the other.      python -m experiments.benchmark [NAME ...]

Ratios compare what ran in the same process on the same machine; absolute figures hold for that machine only.
"""

from __future__ import annotations

import argparse
import platform
from importlib import import_module

BENCHMARKS = ("inspose_kp_nets", "ssn_shift", "ssa_attention", "ssa_grouping", "predict_video")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark", description="Hot paths, measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all by default")
    chosen = parser.parse_args(arguments).names
    for name in chosen:
        if name not in BENCHMARKS:
            parser.error(f"unknown benchmark {name!r} (choose from {', '.join(BENCHMARKS)})")
    import torch

    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in chosen or BENCHMARKS:
        module = import_module(f"experiments.benchmarks.{name}")
        print(f"\n{name}: {(module.__doc__ or '').splitlines()[0]}")
        module.main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
