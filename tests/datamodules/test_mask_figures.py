import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from datamodules.mask_figures import MASK_FIGURES, encode_masks, score_masks


def disk(rng: np.random.Generator, radius: float) -> np.ndarray:
    x, y = rng.uniform(0, 200, 2)
    rows, columns = np.mgrid[:200, :200] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def scene(detections: int) -> tuple[CocoIndex, list[dict]]:
    rng = np.random.default_rng(0)
    annotations, results = [], []
    for image in range(4):
        for person, radius in enumerate((12, 40, 80)):
            mask = disk(rng, radius)
            annotations.append(
                {
                    "id": 10 * image + person + 1,
                    "image_id": image,
                    "category_id": 1,
                    "segmentation": encode_masks([torch.from_numpy(mask)])[0],
                    "area": float(mask.sum()),
                    "bbox": [0, 0, 200, 200],
                    "iscrowd": int(image == 3 and person == 2),
                }
            )
            found = np.roll(mask, int(rng.integers(0, 12)), axis=1)
            results.append((image, found, rng.random()))
        results += [(image, disk(rng, 30), rng.random()) for _ in range(detections - 3)]
    index = CocoIndex()
    images = [{"id": image, "height": 200, "width": 200} for image in range(4)]
    index.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index, [
        {"image_id": image, "category_id": 1, "score": score, "segmentation": encode_masks([torch.from_numpy(mask)])[0]}
        for image, mask, score in results
    ]


def test_figures_are_pycocotools_own_where_twenty_proposals_do_not_bind() -> None:
    truth, results = scene(9)
    ours = score_masks(truth, results)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert list(ours.values()) == pytest.approx(evaluation.stats.tolist())
    assert 0.1 < ours["AP"] < 0.9


def test_the_twenty_best_proposals_of_an_image_count() -> None:
    truth, results = scene(30)
    best = []
    for image in range(4):
        best += sorted((r for r in results if r["image_id"] == image), key=lambda r: -r["score"])[:20]
    assert score_masks(truth, results) == pytest.approx(score_masks(truth, best), nan_ok=True)


def test_nothing_found_and_nobody_there() -> None:
    truth, results = scene(5)
    assert score_masks(truth, []) == dict.fromkeys(MASK_FIGURES, 0.0)
    truth.dataset["annotations"] = [a for a in truth.dataset["annotations"] if a["area"] > 96**2]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    figures = score_masks(truth, results)
    assert math.isnan(figures["APS"])
    assert figures["APL"] > 0


def test_run_lengths_are_text_and_decode_to_the_mask() -> None:
    mask = torch.rand(7, 9) < 0.5
    (encoded,) = encode_masks([mask])
    restored = run_lengths.decode(json.loads(json.dumps(encoded)))
    assert np.array_equal(restored.astype(bool), mask.numpy())
    assert encode_masks([]) == []
