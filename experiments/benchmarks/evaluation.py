"""The evaluator's ten figures, by pycocotools and by hotcoco, against pycocotools alone and faster-coco-eval.

    python -m experiments.benchmarks.evaluation

500 photographs with 1,100 people and 20 detections each, 5,000 with ``--full``, as val2017. All give the same figures.
The last two are measured where they are installed.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from datamodules.config import EvaluationBackend
from datamodules.evaluator import MAX_DETECTIONS, CocoKeypointEvaluator
from experiments.benchmarks.annotations import write_file
from experiments.benchmarks.measuring import Line, Run, Setting
from experiments.benchmarks.others import Other, tried

PEER = "faster-coco-eval"


def detections(file: Path) -> list[dict[str, Any]]:
    """``MAX_DETECTIONS`` people per image: the true ones, displaced, and false ones."""
    generator = np.random.default_rng(0)
    content = json.loads(file.read_text())
    of_image: dict[int, list[list[int]]] = {image["id"]: [] for image in content["images"]}
    for person in content["annotations"]:
        of_image[person["image_id"]].append(person["keypoints"])
    results = []
    for image, people in of_image.items():
        for number in range(MAX_DETECTIONS):
            keypoints = np.array(people[number % len(people)] if people else [100.0] * 51, dtype=np.float64)
            keypoints = keypoints.reshape(17, 3) + generator.normal(0, 4 + 8 * number, (17, 3)).round(2)
            score = float(generator.uniform(0.5, 1)) / (1 + number)
            results.append(
                {"image_id": image, "category_id": 1, "keypoints": keypoints.reshape(-1).tolist(), "score": score}
            )
    return results


def by_evaluator(file: Path, results: list[dict[str, Any]], backend: EvaluationBackend) -> list[float]:
    return list(CocoKeypointEvaluator(file, backend=backend).score(results).values())


def by_pycocotools(file: Path, results: list[dict[str, Any]]) -> list[float]:
    with redirect_stdout(io.StringIO()):
        truth = CocoIndex(str(file))
        evaluation = COCOeval(truth, truth.loadRes([dict(result) for result in results]), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats]


def by_faster_coco_eval(file: Path, results: list[dict[str, Any]]) -> list[float]:
    from faster_coco_eval import COCO, COCOeval_faster

    with redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval_faster(truth, truth.loadRes([dict(result) for result in results]), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats[:10]]


def lines(setting: Setting, images: int = 500) -> list[Line]:
    """Raises:
    AssertionError: the figures differ.
    """
    host = setting._replace(device="cpu", full=False)
    images = 5000 if setting.full else images
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "truth.json"
        write_file(file, images, images * 11 // 5)
        results = detections(file)
        faster = Other("faster_coco_eval", lambda: partial(by_faster_coco_eval, file, results))
        peers, missing = tried({PEER: faster})
        runs: dict[str, Callable[[], list[float]]] = {"naive": partial(by_pycocotools, file, results), **peers}
        for backend in EvaluationBackend:
            if find_spec(backend.name) is not None:
                runs[backend.name] = partial(by_evaluator, file, results, backend)
        figures = {name: run() for name, run in runs.items()}
        for backend in EvaluationBackend:
            if figures.get(backend.name, figures["naive"]) != figures["naive"]:
                raise AssertionError(f"the evaluator's figures by {backend.name} are not pycocotools'")
        forms: dict[str, Run] = {**runs, "limit": lambda: json.loads(file.read_bytes())}
        times = host.race(forms, repeats=2, warm=False)
    note = f"{images} photographs, {len(results)} detections, loading included; naive: pycocotools alone"
    note += f"; peer: {PEER}" if peers else ""
    note += "; limit: the file's JSON parsed and no more"
    asked = {EvaluationBackend.pycocotools: 0.9, EvaluationBackend.hotcoco: 5.0}
    return [
        Line(
            f"COCO figures, {backend.name}",
            times[backend.name],
            times["naive"],
            times.get(PEER),
            times["limit"],
            asked=least,
            note=note,
            without={"peer": missing[0]} if missing else {},
            why_behind="it is pycocotools" if backend is EvaluationBackend.pycocotools else "",
        )
        for backend, least in asked.items()
        if backend.name in times
    ]


def main() -> None:
    for line in lines(Setting()):
        print(f"{line.name}: {line.ours:.0f} ms, pycocotools alone {line.naive:.0f} ms; {line.note}")


if __name__ == "__main__":
    main()
