"""Result files -> COCO's figures, without a model: scored, compared, zipped for COCO's server. Imports no Lightning."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from datamodules.bootstrap import Comparison, compare
from datamodules.coco_submission import check_submission, write_submission
from datamodules.config import EvaluationBackend, OnBadAnnotation
from datamodules.evaluator import CocoKeypointEvaluator
from datamodules.matches import pack
from datamodules.result_files import read_results
from datamodules.skeleton import COCO, skeleton_from
from experiments.config import ConfigError, RunConfig, restore
from experiments.evaluation.protocol import Conditions
from experiments.evaluation.published import published

_STAGE = re.compile(r"-(stage\d+)$")


def score_file(
    file: Path,
    annotations: Path | None,
    protocol: str | None,
    algorithm: str | None,
    out: Path | None,
    backend: EvaluationBackend = EvaluationBackend.pycocotools,
) -> dict[str, Any]:
    """Score a result file, ours or another's; under test-dev write the archive from it instead.

    A record beside the file (``load_record``) tells the images that were evaluated, the skeleton, and the protocol.

    Raises:
        ValueError: no annotations are given or recorded, or a file cannot be used.
    """
    record = load_record(file)
    evaluator = evaluator_of(file, annotations, backend)
    known = set(evaluator.ground_truth.image_ids)
    results = read_results(file, evaluator.skeleton, known)
    report: dict[str, Any] = {**told_of(record), "images": len(known), "predictions": str(file)}
    report["annotations"] = str(evaluator.annotation_file)
    if protocol == "test-dev":
        report["submission"] = str(submit(results, out or file.parent, algorithm or file.stem, known, "test-dev2017"))
        report["people"] = len(results)
        return report
    figures = {"": evaluator.score(results)}
    masks = file.with_name(f"{file.stem}-masks.json")
    if record and masks.is_file():
        figures[""] |= evaluator.score_masks(json.loads(masks.read_bytes()))
    if "config" in record and "conditions" in record:
        config, ours = restore(record["config"], str(file)), Conditions(**record["conditions"])
        stage = _STAGE.search(file.stem)
        return report | beside_published(figures, config, ours, stage[1] if stage else "")
    return report | {"stages": _finite(figures), "published": [], "note": "no record beside the file: no paper to ask"}


def compare_files(
    one: Path,
    two: Path,
    annotations: Path | None,
    *,
    resamples: int,
    confidence: float,
    seed: int,
    backend: EvaluationBackend = EvaluationBackend.pycocotools,
) -> Comparison:
    """The difference of AP, second less first, with its interval.

    Raises:
        ValueError: as ``score_file``; the files were recorded for other images.
    """
    evaluator = evaluator_of(one, annotations, backend)
    ours, theirs = (one_of.ground_truth.image_ids for one_of in (evaluator, evaluator_of(two, annotations)))
    if ours != theirs:
        raise ConfigError(f"{one} and {two} are of other images: {len(ours)}, {len(theirs)}")
    first, second = (
        pack(evaluator.match(read_results(file, evaluator.skeleton, set(ours))).values()) for file in (one, two)
    )
    return compare(first, second, resamples=resamples, confidence=confidence, seed=seed)


def evaluator_of(
    file: Path, annotations: Path | None, backend: EvaluationBackend = EvaluationBackend.pycocotools
) -> CocoKeypointEvaluator:
    """Of the annotations given, else of those recorded beside a result file; of the recorded images.

    Raises:
        ConfigError: there are neither.
        EvaluationError: the backend is not installed.
    """
    record = load_record(file)
    source = annotations or (Path(record["annotations"]) if "annotations" in record else None)
    if source is None:
        raise ConfigError(f"{file}: no record beside it; give --annotations FILE (or data.root=FOLDER)")
    skeleton = skeleton_from(record["skeleton"]) if "skeleton" in record else COCO
    image_ids = record.get("image_ids")
    on_bad = OnBadAnnotation[record.get("config", {}).get("data", {}).get("on_bad_annotation", "error")]
    return CocoKeypointEvaluator(source, image_ids=image_ids, skeleton=skeleton, backend=backend, on_bad=on_bad)


def load_record(file: Path) -> dict[str, Any]:
    """What ``evaluate_checkpoint`` wrote beside a result file; empty where there is nothing.

    Raises:
        ConfigError: it cannot be read.
    """
    stem = _STAGE.sub("", file.stem)
    record = file.with_name(f"{stem}.protocol.json")
    if not record.is_file():
        return {}
    try:
        content = json.loads(record.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{record}: cannot be read ({error}); remove or write it again") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{record}: is no record of an evaluation; remove it")
    return content


def submit(results: list[dict[str, Any]], folder: Path, algorithm: str, image_ids: set[int], test_set: str) -> Path:
    """Write the archive for COCO's server and check it by COCO's rules."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", algorithm).strip("-.") or "results"
    archive = write_submission(results, folder, name, test_set)
    check_submission(archive, image_ids)
    return archive


def beside_published(
    stages: dict[str, dict[str, float]], config: RunConfig, ours: Conditions, stage: str = ""
) -> dict[str, Any]:
    """The figures of every stage, and what the paper published under the same protocol.

    Args:
        stage: the one that ``stages`` is of, where it is of one that is not the model's answer.
    """
    found = published(config, ours)
    rows = [row._asdict() for row in found.rows]
    if stage:
        for row in rows:
            of_stage = {name: figure for name, figure in row["figures"].items() if name.startswith(f"{stage}/")}
            row["figures"] = {name.removeprefix(f"{stage}/"): figure for name, figure in of_stage.items()}
        rows = [row for row in rows if row["figures"]]
    return {"stages": _finite(stages), "published": rows, "note": found.note}


def told_of(record: dict[str, Any]) -> dict[str, Any]:
    """What a report repeats of a record."""
    return {key: record.get(key) for key in ("paper", "protocol", "checkpoint", "annotations")}


def _finite(stages: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """A figure that does not exist is None, as JSON has it."""
    return {
        stage: {name: value if math.isfinite(value) else None for name, value in figures.items()}
        for stage, figures in stages.items()
    }
