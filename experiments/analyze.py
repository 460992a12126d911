"""A paper's own figures, from a trained checkpoint.

    python -m experiments.analyze --paper ssa --run runs/ssa/NAME
    python -m experiments.analyze --paper ssn --checkpoint sent.ckpt data.root=/datasets/coco

What is drawn stands at the top of experiments/analyses/<paper>.py.

exit codes: 0 done; 2 refused (a mistake in the command or the run); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from experiments.command_line import answer, positive, run_program
from experiments.config import ConfigError
from lightning_modules.papers import PAPERS, load

ONLY_OF = {"naive": "ssa", "fsm": "ssn", "compare": "ssn"}
"""Options that one paper has."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_intermixed_args(arguments)
    return answer(lambda _: _analyze(options), as_json=False)


def _analyze(options: argparse.Namespace) -> int:
    if options.paper not in PAPERS or find_spec(f"experiments.analyses.{options.paper}") is None:
        have = [paper for paper in PAPERS if find_spec(f"experiments.analyses.{paper}") is not None]
        raise ConfigError(f"no analysis for paper {options.paper!r}; there is one for {', '.join(have)}")
    for name, paper in ONLY_OF.items():
        if getattr(options, name) is not None and options.paper != paper:
            raise ConfigError(f"--{name} is of {paper}, not of {options.paper}")
    options.compare = options.compare or []
    options.fsm = 3 if options.fsm is None else options.fsm
    from experiments.quiet import quieten

    quieten()
    print(load(f"experiments.analyses.{options.paper}:main")(options))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.analyze", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--paper", required=True, help=f"one of {', '.join(PAPERS)}")
    parser.add_argument(
        "--run", "--checkpoint", required=True, metavar="PATH", help="folder of a finished run, or a .ckpt file"
    )
    parser.add_argument("--naive", metavar="PATH", help="ssa: a run without supervision, to stand beside it")
    parser.add_argument("--fsm", type=positive, help="ssn: the module to look into (default 3, as in the paper)")
    parser.add_argument(
        "--compare", action="append", metavar="PATH", help="ssn: a run to stand beside it in Fig. 6; may be given again"
    )
    parser.add_argument("--images", type=positive, default=4, help="photographs shown (default 4)")
    parser.add_argument("--out", metavar="FOLDER", help="where to write; default: analysis/ in the run's folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the run's configuration: other data")
    return parser


if __name__ == "__main__":
    run_program(main)
