"""A paper's own figures, from a finished run.

    python -m experiments.analyze --paper ssa --run runs/ssa/NAME

What is drawn stands at the top of experiments/analyses/<paper>.py.

exit codes: 0 done; 2 refused (a mistake in the command or the run).
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from lightning_modules.papers import PAPERS, load

REFUSED = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.analyze", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--paper", required=True, help=f"one of {', '.join(PAPERS)}")
    parser.add_argument("--run", required=True, help="folder of a finished run")
    parser.add_argument("--naive", help="ssa: folder of a run without supervision, to stand beside it")
    parser.add_argument("--images", type=int, default=4, help="photographs shown (default 4)")
    parser.add_argument("--out", help="file to write; default: in the run's folder")
    options = parser.parse_args(arguments)
    if options.paper not in PAPERS or find_spec(f"experiments.analyses.{options.paper}") is None:
        print(f"error: no analysis for paper {options.paper!r}", file=sys.stderr)
        return REFUSED
    try:
        print(load(f"experiments.analyses.{options.paper}:main")(options))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
