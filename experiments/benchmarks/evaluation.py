"""The evaluator's ten figures against pycocotools alone, and faster packages where they are installed.

    python -m experiments.benchmarks.evaluation

500 photographs with 1,100 people and 20 detections each, 5,000 with ``--full``, as val2017. All give the same figures.
"""

from __future__ import annotations

import io
import json
import tempfile
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from datamodules.evaluator import MAX_DETECTIONS, CocoKeypointEvaluator
from experiments.benchmarks.annotations import write_file
from experiments.benchmarks.measuring import Line, Setting


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


def by_evaluator(file: Path, results: list[dict[str, Any]]) -> list[float]:
    return list(CocoKeypointEvaluator(file).score(results).values())


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
        runs = {"pycocotools": partial(by_pycocotools, file, results), "ours": partial(by_evaluator, file, results)}
        has_peer = find_spec("faster_coco_eval") is not None
        if has_peer:
            runs["peer"] = partial(by_faster_coco_eval, file, results)
        if runs["ours"]() != runs["pycocotools"]():
            raise AssertionError("the evaluator's figures are not pycocotools'")
        times = host.race(runs, repeats=2, warm=False)
    peer = "faster-coco-eval" if has_peer else "faster-coco-eval is not installed"
    note = f"{images} photographs, {len(results)} detections, loading included; naive: pycocotools alone; peer: {peer}"
    return [Line("COCO figures", times["ours"], times["pycocotools"], times.get("peer"), asked=0.9, note=note)]


def main() -> None:
    for line in lines(Setting()):
        print(f"{line.name}: pycocotools {line.naive:.0f} ms, ours {line.ours:.0f} ms; {line.note}")


if __name__ == "__main__":
    main()
