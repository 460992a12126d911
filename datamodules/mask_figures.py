"""Person masks -> COCO segmentation figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO as CocoIndex
from torch import Tensor

from datamodules.coco_backend import new_evaluation, run
from datamodules.config import EvaluationBackend

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


def score_masks(
    ground_truth: CocoIndex,
    results: list[dict[str, Any]],
    backend: EvaluationBackend = EvaluationBackend.pycocotools,
) -> dict[str, float]:
    """The figures of results with ``segmentation``, in [0, 1]; 0 without results.

    Where an area range holds nobody its figures are NaN. The ground truth's annotations need ``segmentation``.
    """
    if not results:
        return dict.fromkeys(MASK_FIGURES, 0.0)
    evaluation = new_evaluation(ground_truth, results, "segm", backend)
    evaluation.params.maxDets = list(PROPOSALS)
    run(evaluation)
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
