"""Score a checkpoint, or a file of results, under a named protocol.

    python -m experiments.evaluate --checkpoint runs/ssn/NAME
    python -m experiments.evaluate --checkpoint runs/ssn/NAME --protocol val2017-det data.root=/path/to/coco \\
        data.detections.file=boxes.json
    python -m experiments.evaluate --predictions results.json --annotations person_keypoints_val2017.json
    python -m experiments.evaluate --compare one.json two.json --annotations person_keypoints_val2017.json

A checkpoint carries paper, configuration and skeleton; key=value changes its data or its test. Without --protocol it is
evaluated as in its training. The people found are saved in COCO's result format beside a record of the protocol, and
are scored again without a model by --predictions. --compare gives the difference of AP of two result files with a
paired bootstrap interval over images.

exit codes: 0 done; 1 failed; 2 refused (a mistake in the command, the checkpoint or the data).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from datamodules.config import EvaluationBackend
from experiments.command_line import FAILED, answer, natural, positive, run_program, say, share, stdout_to_stderr
from experiments.config import ConfigError
from experiments.evaluation.annotations import annotations_of
from experiments.evaluation.protocol import PROTOCOLS, find_protocol
from experiments.merging import read_override

_COMPARED = (("compare",), "it is of the interval that --compare gives")
_BELONGS = {
    "flip": (("checkpoint",), "it is of the model"),
    "scales": (("checkpoint",), "it is of the model"),
    "annotations": (("predictions", "compare"), "a checkpoint's are those of data.root and data.val_split"),
    "out": (("checkpoint", "predictions"), "it writes no file"),
    "alg": (("checkpoint", "predictions"), "it writes no archive"),
    "resamples": _COMPARED,
    "confidence": _COMPARED,
    "seed": _COMPARED,
}
"""Option -> what is scored where it has a meaning, and why it has none elsewhere."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_intermixed_args(arguments)
    return answer(lambda report: _evaluate(options, report), as_json=options.json, on_os_error=FAILED)


def _evaluate(options: argparse.Namespace, report: dict[str, Any]) -> int:
    _check(options)
    report.update(_run(options))
    if not options.json:
        from experiments.evaluation.table import print_comparison, print_report

        (print_comparison if options.compare else print_report)(report)
    return 0


def _check(options: argparse.Namespace) -> None:
    given = [name for name in ("checkpoint", "predictions", "compare") if getattr(options, name)]
    if len(given) != 1:
        raise ConfigError("give one of --checkpoint, --predictions and --compare")
    if options.protocol is not None:
        find_protocol(options.protocol)
    for override in options.overrides:
        read_override(override)
    source = given[0]
    for name, (sources, why) in _BELONGS.items():
        if getattr(options, name) is not None and source not in sources:
            raise ConfigError(f"--{name} does not go with --{source}: {why}")
    for file in [options.predictions, *(options.compare or []), options.annotations]:
        if file is not None and not file.is_file():
            raise ConfigError(f"{file}: {'a folder, not a file' if file.is_dir() else 'no such file'}")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    if not options.checkpoint:
        annotations = options.annotations or annotations_of(options.overrides, options.protocol)
        backend = EvaluationBackend[options.backend or "pycocotools"]
        from experiments.evaluation import scoring

        if options.compare:
            confidence = 0.95 if options.confidence is None else options.confidence
            report = scoring.compare_files(
                options.compare[0],
                options.compare[1],
                annotations,
                resamples=options.resamples or 1000,
                confidence=confidence,
                seed=options.seed or 0,
                backend=backend,
            )._asdict()
            return {"files": [str(file) for file in options.compare], "confidence": confidence, **report}
        return scoring.score_file(options.predictions, annotations, options.protocol, options.alg, options.out, backend)
    if not options.checkpoint.exists():
        raise ConfigError(f"{options.checkpoint}: no such file")
    from experiments.quiet import quieten

    quieten()
    from experiments.evaluation.checkpoint import evaluate_checkpoint, load_for

    if options.backend:
        options.overrides.append(f"evaluation.backend={options.backend}")
    trained = load_for(options.checkpoint, options.protocol, options.overrides, options.flip, options.scales)
    with stdout_to_stderr():
        return evaluate_checkpoint(trained, options.protocol, options.out, options.alg, say)


def _parser() -> argparse.ArgumentParser:
    known = "".join(f"\n  {name:<12}{protocol.about}" for name, protocol in PROTOCOLS.items())
    parser = argparse.ArgumentParser(
        prog="python -m experiments.evaluate",
        description=f"{__doc__}\nprotocols:{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_argument_group("what is scored (one of these)")
    source.add_argument("--checkpoint", type=Path, metavar="RUN_OR_CKPT", help="folder of a run, or a .ckpt file")
    source.add_argument(
        "--predictions", type=Path, metavar="FILE", help="COCO keypoint results, from here or elsewhere"
    )
    source.add_argument("--compare", type=Path, nargs=2, metavar=("FILE_A", "FILE_B"), help="AP of B less that of A")
    parser.add_argument("--protocol", metavar="NAME", help="see above; default: as the run was evaluated in training")
    parser.add_argument("--flip", choices=("on", "off"), help="average with mirror images (where the paper has it)")
    parser.add_argument("--scales", metavar="S", help="single, paper, or sizes 400,800 (where the paper has them)")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="of --predictions and --compare")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of the files; default: beside the checkpoint")
    parser.add_argument("--alg", metavar="NAME", help="your method's name in the test server's file names")
    parser.add_argument(
        "--backend",
        choices=[backend.name for backend in EvaluationBackend],
        help="what computes the figures, the same either way (default: the run's, else pycocotools)",
    )
    parser.add_argument("--resamples", type=positive, metavar="N", help="--compare: draws of images (default 1000)")
    parser.add_argument("--confidence", type=share, metavar="P", help="--compare: of the interval (default 0.95)")
    parser.add_argument("--seed", type=natural, metavar="N", help="--compare: of the draws (default 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, all else on stderr")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="data.root=FOLDER and other keys of the run")
    return parser


if __name__ == "__main__":
    run_program(main)
