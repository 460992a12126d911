"""Person masks -> COCO segmentation figures, by pycocotools."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval
from torch import Tensor

MASK_FIGURES = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR20", "ARS", "ARM", "ARL")
"""COCO's twelve segmentation figures, with at most 20 proposals an image as for keypoints."""
PROPOSALS = (1, 10, 20)

RunLengths = dict[str, Any]


def encode_masks(masks: Iterable[Tensor]) -> list[RunLengths]:
    """bool [h, w] masks -> COCO's compressed run lengths, whose ``counts`` are text, ready for ``json.dump``."""
    encoded = []
    for mask in masks:
        lengths = run_lengths.encode(np.asfortranarray(mask.cpu().numpy().astype(np.uint8)))
        encoded.append({"size": [int(side) for side in lengths["size"]], "counts": lengths["counts"].decode()})
    return encoded


def score_masks(ground_truth: CocoIndex, results: list[dict[str, Any]]) -> dict[str, float]:
    """The figures of results with ``segmentation``, in [0, 1]; 0 without results.

    Where an area range holds nobody its figures are NaN. The ground truth's annotations need ``segmentation``.
    """
    if not results:
        return dict.fromkeys(MASK_FIGURES, 0.0)
    with redirect_stdout(io.StringIO()):
        detections = ground_truth.loadRes([dict(result) for result in results])
        evaluation = COCOeval(ground_truth, detections, "segm")
        evaluation.params.maxDets = list(PROPOSALS)
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    all_areas, small, medium, large = range(4)
    values = (
        precision[:, :, :, all_areas, -1],
        precision[0, :, :, all_areas, -1],
        precision[5, :, :, all_areas, -1],
        *(precision[:, :, :, area, -1] for area in (small, medium, large)),
        *(recall[:, :, all_areas, proposals] for proposals in range(len(PROPOSALS))),
        *(recall[:, :, area, -1] for area in (small, medium, large)),
    )
    return {name: _mean(value) for name, value in zip(MASK_FIGURES, values, strict=True)}


def _mean(values: np.ndarray) -> float:
    """Mean of what could be measured (pycocotools marks the rest by -1)."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else float("nan")
