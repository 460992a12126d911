"""COCO's matching and curves: by pycocotools, the reference, or by hotcoco, to the same bits and sooner."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from typing import Any

import numpy as np
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from datamodules.config import EvaluationBackend
from datamodules.ground_truth import EvaluationError, index_of

_TRUTH = ("id", "image_id", "category_id", "keypoints", "num_keypoints", "segmentation", "bbox", "area")
_RESULT = ("image_id", "category_id", "keypoints", "segmentation", "score")


def check_backend(backend: EvaluationBackend) -> None:
    """Raises:
    EvaluationError: its package is not installed.
    """
    if backend is EvaluationBackend.hotcoco and find_spec("hotcoco") is None:
        raise EvaluationError(
            "evaluation.backend=hotcoco: the package is not installed; pip install hotcoco, or leave the backend at "
            "pycocotools, which gives the same figures"
        )


def new_evaluation(truth: CocoIndex, results: list[dict[str, Any]], kind: str, backend: EvaluationBackend) -> COCOeval:
    """An evaluation yet to be run: pycocotools' ``COCOeval``, or hotcoco's, which has the same names.

    Where the two would differ pycocotools runs, whatever ``backend`` is: annotations with the id 0 (pycocotools takes
    their match for none) or one id twice, results of another category, or results whose first entry tells more than
    its ``kind`` (pycocotools then takes a person's size from there).

    Args:
        truth: the people; of ``kind`` segm with ``segmentation``.
        results: COCO's result format; may be empty.
        kind: ``keypoints`` or ``segm``.
        backend: ``check_backend`` has seen it.
    """
    if backend is EvaluationBackend.hotcoco and _is_ordinary(truth, results, kind):
        return _by_hotcoco(truth, results, kind)
    with _quietly():
        if results:
            detections = truth.loadRes([dict(result) for result in results])
        else:  # loadRes fails on an empty list
            detections = index_of({**truth.dataset, "annotations": []})
        return COCOeval(truth, detections, kind)


def set_sigmas(evaluation: COCOeval, sigmas: Sequence[float]) -> None:
    """Have OKS use these, [K]."""
    evaluation.params.kpt_oks_sigmas = np.asarray(sigmas)


def match(evaluation: COCOeval) -> None:
    """Fill ``evalImgs``, in no order."""
    with _quietly():
        evaluation.evaluate()


def run(evaluation: COCOeval) -> None:
    """Fill ``eval``, whose arrays are ``precision`` and ``recall``."""
    with _quietly():
        evaluation.evaluate()
        evaluation.accumulate()


def figures(evaluation: COCOeval) -> list[float]:
    """Run it -> ``stats`` in COCO's order, -1 where nobody is annotated."""
    run(evaluation)
    with _quietly():
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats]


@contextmanager
def _quietly() -> Iterator[None]:
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="hotcoco: kpt_oks_sigmas differ")  # the skeleton's own
        yield


def _is_ordinary(truth: CocoIndex, results: list[dict[str, Any]], kind: str) -> bool:
    ids = {annotation["id"] for annotation in truth.dataset["annotations"]}
    if 0 in ids or len(ids) < len(truth.dataset["annotations"]):
        return False
    categories = {category["id"] for category in truth.dataset["categories"]}
    more = {"caption", "bbox", "segmentation", "keypoints"} - {"segmentation" if kind == "segm" else kind}
    return not results or (
        more.isdisjoint(results[0]) and categories.issuperset(result["category_id"] for result in results)
    )


def _by_hotcoco(truth: CocoIndex, results: list[dict[str, Any]], kind: str) -> COCOeval:
    import hotcoco

    unused = "segmentation" if kind == "keypoints" else "keypoints"
    people = [
        {
            **{name: person[name] for name in _TRUTH if name in person and name != unused},
            "iscrowd": int(bool(person["iscrowd"])),
        }
        for person in truth.dataset["annotations"]
    ]
    found = [{name: result[name] for name in _RESULT if name in result} for result in results]
    images = {**truth.dataset, "annotations": people}
    index = hotcoco.COCO(images)
    detections = index.load_res(found) if found else hotcoco.COCO({**images, "annotations": []})
    return hotcoco.COCOeval(index, detections, kind)
