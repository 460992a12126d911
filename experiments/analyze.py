"""A paper's own figures, from a trained checkpoint.

    python -m experiments.analyze --paper ssa --run runs/ssa/NAME
    python -m experiments.analyze --paper ssn --checkpoint sent.ckpt data.root=/datasets/coco

What is drawn stands at the top of experiments/analyses/<paper>.py.

exit codes: 0 done; 2 refused (a mistake in the command or the run).
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from experiments.command_line import REFUSED, say
from lightning_modules.papers import PAPERS, load


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.analyze", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--paper", required=True, help=f"one of {', '.join(PAPERS)}")
    parser.add_argument(
        "--run", "--checkpoint", required=True, metavar="PATH", help="folder of a finished run, or a .ckpt file"
    )
    parser.add_argument("--naive", metavar="PATH", help="ssa: a run without supervision, to stand beside it")
    parser.add_argument("--fsm", type=int, default=3, help="ssn: the module to look into (default 3, as in the paper)")
    parser.add_argument("--images", type=int, default=4, help="photographs shown (default 4)")
    parser.add_argument("--out", metavar="FOLDER", help="where to write; default: analysis/ in the run's folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the run's configuration: other data")
    options = parser.parse_args(arguments)
    if options.paper not in PAPERS or find_spec(f"experiments.analyses.{options.paper}") is None:
        have = [paper for paper in PAPERS if find_spec(f"experiments.analyses.{paper}") is not None]
        say(f"error: no analysis for paper {options.paper!r}; there is one for {', '.join(have)}")
        return REFUSED
    from experiments.quiet import quieten

    quieten()
    try:
        print(load(f"experiments.analyses.{options.paper}:main")(options))
    except ValueError as error:
        say(f"error: {error}")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
