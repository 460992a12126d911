"""Where keypoint AP is lost: jitter, inversion, swap, miss, background false positives and false negatives.

    python -m experiments.diagnose --checkpoint runs/ssn/NAME
    python -m experiments.diagnose --checkpoint runs/ssn/NAME runs/ssn/OTHER --protocol mini data.root=/path/to/coco
    python -m experiments.diagnose --predictions results.json --annotations person_keypoints_val2017.json

After Ronchi and Perona (ICCV 2017): people are matched at an OKS of 0.1; of a matched person's keypoint, a similarity
of 0.85 or more is good, down to 0.5 jitter, near the other side's joint an inversion, near another person's a swap,
else a miss. A gain is the AP that repairing one kind alone would add. One or two checkpoints or files, side by side.

Written to --out (default: diagnosis/ beside the predictions): diagnosis.json, diagnosis.png, worst.jpg.

exit codes: 0 done; 1 failed; 2 refused (a mistake in the command, the checkpoint or the data); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.config import EvaluationBackend
from experiments.command_line import FAILED, answer, make_folder, run_program, say, stdout_to_stderr
from experiments.config import ConfigError
from experiments.evaluation.annotations import annotations_of
from experiments.evaluation.protocol import PROTOCOLS, find_protocol

if TYPE_CHECKING:
    from datamodules.keypoint_errors import Diagnosis


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_intermixed_args(arguments)
    return answer(lambda report: _diagnose(options, report), as_json=options.json, on_os_error=FAILED)


def _diagnose(options: argparse.Namespace, report: dict[str, Any]) -> int:
    _check(options)
    report.update(_run(options))
    if not options.json:
        from experiments.diagnosis.table import print_report

        print_report(report)
    return 0


def _check(options: argparse.Namespace) -> None:
    for name in ("checkpoint", "predictions"):  # nargs="+" takes key=value with it
        given = getattr(options, name) or []
        options.overrides += [str(item) for item in given if "=" in str(item) and not item.exists()]
        setattr(options, name, [item for item in given if "=" not in str(item) or item.exists()])
    sources = options.checkpoint or options.predictions
    if bool(options.checkpoint) == bool(options.predictions) or len(sources) > 2:
        raise ConfigError("give --checkpoint or --predictions, with one or two of them")
    for item in [*sources, *([options.annotations] if options.annotations else [])]:
        if not item.exists():
            raise ConfigError(f"{item}: no such file")
        if item.is_dir() and item not in (options.checkpoint or []):
            raise ConfigError(f"{item}: is a folder, not a file")
    if options.annotations and options.checkpoint:
        raise ConfigError("--annotations is of --predictions; a checkpoint takes data.root=FOLDER")
    if options.protocol is not None:
        find_protocol(options.protocol)
        if options.protocol == "test-dev":
            raise ConfigError("protocol test-dev: nobody is annotated there, so nothing can be diagnosed")
        if options.predictions:
            raise ConfigError("--protocol is of --checkpoint; a result file takes --annotations FILE")
    if options.out is not None:
        make_folder(options.out)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    files = options.predictions or _predict(options)
    from datamodules.ground_truth import EvaluationError
    from datamodules.keypoint_errors import diagnose
    from datamodules.result_files import read_results
    from experiments.evaluation.scoring import evaluator_of

    annotations = options.annotations or annotations_of(options.overrides if options.predictions else [], None)
    backend = EvaluationBackend[options.backend or "pycocotools"]
    evaluators = [evaluator_of(file, annotations, backend) for file in files]
    if evaluators[0].ground_truth.image_ids != evaluators[-1].ground_truth.image_ids:
        raise EvaluationError(f"{files[0]} and {files[1]} are of other images")
    results = [
        read_results(file, evaluator.skeleton, set(evaluator.ground_truth.image_ids))
        for file, evaluator in zip(files, evaluators, strict=True)
    ]
    names = _names(files)
    diagnoses = {}
    for name, evaluator, people in zip(names, evaluators, results, strict=True):
        if not options.json:
            say(f"{name}: matching {len(people):,} people in {len(evaluator.ground_truth.image_ids):,} images")
        diagnoses[name] = diagnose(evaluator, people)
    report: dict[str, Any] = {
        "images": len(evaluators[0].ground_truth.image_ids),
        "annotations": str(evaluators[0].annotation_file),
        "diagnoses": {
            name: {"file": str(file), **_plain(diagnosis)}
            for (name, diagnosis), file in zip(diagnoses.items(), files, strict=True)
        },
    }
    out = options.out or make_folder(files[-1].parent / "diagnosis")
    report["files"] = [str(file) for file in _draw(options, out, evaluators[0], results, diagnoses)]
    (out / "diagnosis.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def _predict(options: argparse.Namespace) -> list[Path]:
    """Evaluate the checkpoints and give the files of their people."""
    from experiments.quiet import quieten

    quieten()
    from experiments.evaluation.checkpoint import evaluate_checkpoint, load_for

    files = []
    for number, source in enumerate(options.checkpoint, start=1):
        backend = [f"evaluation.backend={options.backend}"] if options.backend else []
        trained = load_for(source, options.protocol, [*options.overrides, *backend])
        out = options.out / f"predictions-{number}" if options.out else None
        with stdout_to_stderr():
            report = evaluate_checkpoint(trained, options.protocol, out, None, say)
        files.append(Path(report["predictions"]))
    return files


def _draw(
    options: argparse.Namespace,
    out: Path,
    evaluator: Any,
    results: list[list[dict[str, Any]]],
    diagnoses: dict[str, Diagnosis],
) -> list[Path]:
    from callbacks.pictures import write_jpeg
    from experiments.diagnosis.pictures import draw_bars, draw_worst

    files = [draw_bars(diagnoses, evaluator.skeleton, out / "diagnosis.png")]
    folder = options.images or _photographs_of(evaluator.annotation_file)
    if options.worst < 1 or folder is None or not folder.is_dir():
        if options.worst > 0:
            say(f"no photographs in {folder}: give --images FOLDER to see the worst")
        return files
    photographs = {image_id: folder / name for image_id, name in evaluator.ground_truth.file_names.items()}
    sheet = draw_worst(photographs, results, diagnoses, evaluator.skeleton, options.worst)
    if sheet is not None:
        write_jpeg(out / "worst.jpg", sheet)
        files.append(out / "worst.jpg")
    return files


def _photographs_of(annotations: Path) -> Path | None:
    """``<root>/<split>`` of ``<root>/annotations/person_keypoints_<split>.json``."""
    return annotations.parent.parent / annotations.stem.removeprefix("person_keypoints_")


def _names(files: list[Path]) -> list[str]:
    """What tells result files apart: the runs they are of where that is recorded, else their own names or paths."""
    from experiments.evaluation.scoring import load_record

    names = []
    for file in files:
        checkpoint = load_record(file).get("checkpoint")
        if checkpoint is None:
            names.append(file.stem)
            continue
        run = Path(checkpoint).parent.name if Path(checkpoint).stem == "best" else Path(checkpoint).stem
        names.append(" ".join([run, *file.stem.split("-")[1:]]))  # predictions-stage1
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    return names if len(set(names)) == len(names) else [f"{name} ({n})" for n, name in enumerate(names, start=1)]


def _plain(diagnosis: Diagnosis) -> dict[str, Any]:
    """Of a diagnosis what tables and scripts want; images are named with their loss, worst first."""
    from datamodules.keypoint_errors import KeypointKind

    total = diagnosis.keypoints.sum(axis=0)
    return {
        "AP": diagnosis.ap,
        "AP_repaired": diagnosis.ap_repaired,
        "gains": diagnosis.gains,
        "shares": diagnosis.shares,
        "people": diagnosis.people,
        "keypoints": {kind.name: int(total[kind]) for kind in KeypointKind if kind >= 0},
        "keypoints_by_joint": diagnosis.keypoints.tolist(),
        "worst": [[image.image_id, round(image.loss, 4)] for image in diagnosis.images[:100] if image.loss > 0],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.diagnose", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_argument_group("what is diagnosed (one of these)")
    source.add_argument("--checkpoint", type=Path, nargs="+", metavar="RUN_OR_CKPT", help="one or two")
    source.add_argument("--predictions", type=Path, nargs="+", metavar="FILE", help="one or two COCO result files")
    parser.add_argument("--protocol", metavar="NAME", help=f"of checkpoints: {', '.join(PROTOCOLS)}")
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="of --predictions")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="photographs; default: COCO's layout")
    parser.add_argument("--worst", type=int, default=8, metavar="N", help="photographs drawn (default 8, 0 is none)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of the files")
    parser.add_argument(
        "--backend",
        choices=[backend.name for backend in EvaluationBackend],
        help="what matches people, to the same figures (default: the run's, else pycocotools)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, all else on stderr")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="data.root=FOLDER and other keys of the run")
    return parser


if __name__ == "__main__":
    run_program(main)
