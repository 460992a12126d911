"""The evaluator against pycocotools run directly on the same files, and its rules for odd input."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from datamodules.contracts import Predictions
from datamodules.evaluator import FIGURES, MAX_DETECTIONS, CocoKeypointEvaluator
from datamodules.ground_truth import EvaluationError
from datamodules.skeleton import COCO, Skeleton

TRIANGLE = Skeleton("triangle", ("top", "left_foot", "right_foot"), (("top", "left_foot"),), (0.05, 0.1, 0.1))


def annotation(number: int, image_id: int, keypoints: np.ndarray, **changes: Any) -> dict[str, Any]:
    """A person whose box encloses ``keypoints`` [K, 3] (pixel indices)."""
    low, high = keypoints[:, :2].min(0), keypoints[:, :2].max(0)
    width, height = (high - low).tolist()
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "keypoints": keypoints.reshape(-1).tolist(),
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "bbox": [*low.tolist(), width, height],
        "area": width * height * 0.6,
        "iscrowd": 0,
        **changes,
    }


def write(folder: Path, images: int, annotations: list[dict[str, Any]], category: str = "person") -> Path:
    file = folder / "truth.json"
    content = {
        "images": [
            {"id": number, "width": 400, "height": 400, "file_name": f"{number}.jpg"} for number in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": category}],
    }
    file.write_text(json.dumps(content))
    return file


def crowd_scene(folder: Path, skeleton: Skeleton = COCO, images: int = 7, seed: int = 0) -> tuple[Path, Predictions]:
    """People of all sizes, a crowd, a person without keypoints; noisy, missed, invented and too many detections."""
    rng = np.random.default_rng(seed)
    joints = skeleton.num_keypoints
    annotations, keypoints, scores, is_valid = [], [], [], []
    people = MAX_DETECTIONS + 5
    for image_id in range(images):
        found = rng.uniform(0, 400, (people, joints, 2))
        for person in range(4):
            size = (30, 70, 140, 250)[person]
            truth = rng.uniform(0, size, (joints, 2)) + rng.uniform(0, 400 - size, 2)
            visibility = rng.integers(0, 3, (joints, 1))
            labelled = np.concatenate([truth, visibility], 1).round(2) * (visibility > 0)
            if person == 2 and image_id == 1:
                labelled[:] = 0
            number = 10 * image_id + person + 1
            changes = {"bbox": [*truth.min(0), size, size], "area": 0.6 * size**2}
            changes["iscrowd"] = int(person == 3 and image_id == 2)
            annotations.append(annotation(number, image_id, labelled, **changes))
            found[3 * person] = truth + 0.5 + rng.normal(0, 0.02 * size, truth.shape)
            found[3 * person + 1] = truth + 0.5 + rng.normal(0, 0.1 * size, truth.shape)
        keypoints.append(np.concatenate([found, rng.uniform(0, 1, (people, joints, 1))], 2))
        scores.append(rng.uniform(0, 1, people))
        is_valid.append(rng.uniform(0, 1, people) < 0.95)
    predictions = Predictions(
        keypoints=torch.tensor(np.array(keypoints), dtype=torch.float32),
        scores=torch.tensor(np.array(scores), dtype=torch.float32),
        is_valid=torch.tensor(np.array(is_valid)),
        sample_id=torch.arange(images) + 2**40,
        image_id=torch.arange(images),
    )
    return write(folder, images, annotations), predictions


def rows(predictions: Predictions, chosen: list[int]) -> Predictions:
    return Predictions(*(field[chosen] for field in predictions[:5]))


def by_pycocotools(file: Path, predictions: Predictions, skeleton: Skeleton) -> dict[str, float]:
    """The reference: a result file of every valid person, scored by pycocotools as its own demo does."""
    results = [
        {
            "image_id": int(predictions.image_id[row]),
            "category_id": 1,
            "keypoints": [
                round(value - shift, 3)
                for joint in predictions.keypoints[row, person].double().tolist()
                for value, shift in zip(joint, (0.5, 0.5, 0.0), strict=True)
            ],
            "score": float(predictions.scores[row, person]),
        }
        for row in range(len(predictions.image_id))
        for person in range(predictions.scores.shape[1])
        if predictions.is_valid[row, person]
    ]
    result_file = file.with_name("results.json")
    result_file.write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = CocoIndex(str(file))
        evaluation = COCOeval(truth, truth.loadRes(str(result_file)), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(FIGURES, evaluation.stats.tolist(), strict=True))


@pytest.mark.parametrize("skeleton", [COCO, TRIANGLE], ids=["coco", "triangle"])
def test_all_ten_figures_are_those_of_pycocotools(
    tmp_path: Path, skeleton: Skeleton, capsys: pytest.CaptureFixture[str]
) -> None:
    file, predictions = crowd_scene(tmp_path, skeleton)
    evaluator = CocoKeypointEvaluator(file, skeleton=skeleton)
    evaluator.update(rows(predictions, [0, 1, 2]))
    evaluator.update(rows(predictions, [3, 4, 5, 6]))
    figures = evaluator.compute()
    assert figures == by_pycocotools(file, predictions, skeleton)
    assert len(set(figures.values())) >= 9  # no figure stands in for another
    assert 0.05 < figures["AP"] < 0.95
    assert evaluator.score(json.loads(json.dumps(evaluator.results()))) == figures
    assert capsys.readouterr().out == ""


@pytest.mark.fault(21, "odd number of images, one repeated", "figures of one process")
def test_ranks_that_share_an_odd_number_of_images_and_repeat_one_agree_with_one_process(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    alone = CocoKeypointEvaluator(file)
    alone.update(predictions)
    ranks = [CocoKeypointEvaluator(file) for _ in range(2)]
    ranks[0].update(rows(predictions, [0, 2, 4, 6]))
    ranks[1].update(rows(predictions, [1, 3, 5, 0]))  # the sampler repeats image 0
    states = [rank.state() for rank in ranks]
    for rank in ranks:
        for state in states:
            rank.merge(state)
    assert ranks[0].compute() == ranks[1].compute() == alone.compute()
    assert ranks[0].results() == ranks[1].results() == alone.results()
    ranks[0].reset()
    assert ranks[0].results() == []


def test_crops_of_one_image_are_all_kept(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    evaluator = CocoKeypointEvaluator(file)
    evaluator.update(rows(predictions, [0]))
    evaluator.update(rows(predictions, [0])._replace(sample_id=torch.tensor([5])))
    one, two = predictions.is_valid[0].sum(), len(evaluator.results())
    assert two == min(2 * int(one), MAX_DETECTIONS)
    assert len(evaluator.state()) == 2


def test_duplicates_from_several_crops_are_suppressed_per_image(tmp_path: Path) -> None:
    truth, predictions = crowd_scene(tmp_path)
    seen = []

    def best_of_large_boxes(keypoints: np.ndarray, scores: np.ndarray, areas: np.ndarray) -> np.ndarray:
        seen.append((len(keypoints), scores.tolist(), areas.tolist()))
        return np.arange(len(scores)) == 0

    evaluator = CocoKeypointEvaluator(truth, suppress=best_of_large_boxes)
    people = predictions.keypoints.shape[1]
    boxes = torch.tensor([10.0, 20.0, 40.0, 60.0]).expand(*predictions.scores.shape, 4)
    for person in range(people):  # every person its own crop
        crop = predictions._replace(
            keypoints=predictions.keypoints[:, person : person + 1],
            scores=predictions.scores[:, person : person + 1],
            is_valid=predictions.is_valid[:, person : person + 1],
            sample_id=predictions.sample_id * people + person,
            boxes=boxes[:, person : person + 1],
        )
        evaluator.update(crop)
    results = evaluator.results()
    assert len(results) == len(seen) == len(evaluator.ground_truth.image_ids)
    for result, (number, scores, areas) in zip(results, seen, strict=True):
        assert number > 1
        assert scores == sorted(scores, reverse=True)
        assert areas == [1200.0] * number
        assert result["score"] == scores[0]


def test_results_are_pixel_indices(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    evaluator = CocoKeypointEvaluator(file)
    evaluator.update(predictions)
    best = int((predictions.scores[0] * predictions.is_valid[0]).argmax())
    first = evaluator.results()[0]
    expected = predictions.keypoints[0, best].numpy() - [0.5, 0.5, 0]
    np.testing.assert_allclose(np.reshape(first["keypoints"], (-1, 3)), expected, atol=6e-4)
    assert first["score"] == float(predictions.scores[0, best])


@pytest.mark.fault(25, "one image", "its figures")
def test_a_chosen_set_of_images_is_scored_alone(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    chosen = CocoKeypointEvaluator(file, image_ids=[1, 4])
    chosen.update(predictions)
    content = json.loads(file.read_text())
    content["images"] = [image for image in content["images"] if image["id"] in (1, 4)]
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in (1, 4)]
    file.write_text(json.dumps(content))
    assert chosen.compute() == by_pycocotools(file, rows(predictions, [1, 4]), COCO)


@pytest.mark.fault(25, "no detections", "figures 0")
def test_without_detections_the_figures_are_zero(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    evaluator = CocoKeypointEvaluator(file)
    assert evaluator.compute() == dict.fromkeys(FIGURES, 0.0)
    evaluator.update(predictions._replace(is_valid=torch.zeros_like(predictions.is_valid)))
    assert evaluator.compute() == dict.fromkeys(FIGURES, 0.0)


@pytest.mark.fault(25, "NaN scores or coordinates", "dropped, counted; figures")
def test_only_nan_scores_or_coordinates_are_dropped_and_counted(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    evaluator = CocoKeypointEvaluator(file)
    evaluator.update(predictions._replace(scores=torch.full_like(predictions.scores, math.nan)))
    assert evaluator.compute()["AP"] == 0.0
    assert evaluator.num_dropped == int(predictions.is_valid.sum())
    evaluator.reset()
    keypoints = predictions.keypoints.clone()
    keypoints[:, 0, 3, 1] = math.inf
    evaluator.update(predictions._replace(keypoints=keypoints))
    assert evaluator.num_dropped == int(predictions.is_valid[:, 0].sum())
    assert all(math.isfinite(value) for result in evaluator.results() for value in result["keypoints"])


@pytest.mark.fault(9, "split without people, evaluated", "figures 0")
def test_a_split_without_people_scores_zero_and_an_area_range_without_people_nan(tmp_path: Path) -> None:
    _, predictions = crowd_scene(tmp_path)
    evaluator = CocoKeypointEvaluator(write(tmp_path, 7, []))
    evaluator.update(predictions)
    figures = evaluator.compute()
    assert [figures[name] for name in ("AP", "AP50", "AP75", "AR", "AR50", "AR75")] == [0.0] * 6
    assert all(math.isnan(figures[name]) for name in ("APM", "APL", "ARM", "ARL"))

    person = np.stack([*np.random.default_rng(0).uniform(50, 100, (2, 17)), np.full(17, 2)], 1).round(1)
    large_only = CocoKeypointEvaluator(write(tmp_path, 1, [annotation(1, 0, person, area=96.0**2 + 1)]))
    keypoints = torch.tensor(person + np.array([0.5, 0.5, 0]), dtype=torch.float32)[None, None]
    large_only.update(
        Predictions(keypoints, torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool), *torch.zeros(2, 1).long())
    )
    figures = large_only.compute()
    assert figures["AP"] == figures["APL"] == pytest.approx(1.0)
    assert math.isnan(figures["APM"])


def test_missing_optional_fields_are_completed(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    content = json.loads(file.read_text())
    for entry in content["annotations"]:
        entry["area"] = entry["bbox"][2] * entry["bbox"][3]
    file.write_text(json.dumps(content))
    full = CocoKeypointEvaluator(file)
    for entry in content["annotations"]:
        del entry["area"], entry["num_keypoints"]
        if not entry["iscrowd"]:
            del entry["iscrowd"]
    content["categories"][0]["name"] = "mouse"
    file.write_text(json.dumps(content))
    bare = CocoKeypointEvaluator(file)
    for evaluator in (full, bare):
        evaluator.update(predictions)
    assert full.compute() == bare.compute()


@pytest.mark.parametrize("first", [1, 0, -3])
def test_everybody_is_found_whatever_number_the_annotations_begin_with(people_file, exact, first: int) -> None:
    file, content = people_file()
    for number, entry in enumerate(content["annotations"], start=first):
        entry["id"] = number
    file.write_text(json.dumps(content))
    assert CocoKeypointEvaluator(file).score(exact(content))["AP"] == pytest.approx(1.0)


def test_bfloat16_predictions_are_taken(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    evaluator = CocoKeypointEvaluator(file)
    evaluator.update(predictions._replace(scores=predictions.scores.bfloat16()))
    assert evaluator.results()[0]["score"] == float(predictions.scores[0][predictions.is_valid[0]].max().bfloat16())


def test_predictions_of_another_data_set_are_refused(tmp_path: Path) -> None:
    file, predictions = crowd_scene(tmp_path)
    evaluator = CocoKeypointEvaluator(file)
    with pytest.raises(EvaluationError, match="image id 77, not in the file"):
        evaluator.update(predictions._replace(image_id=torch.full_like(predictions.image_id, 77)))
    with pytest.raises(EvaluationError, match="predictions have 16 keypoints, skeleton coco has 17"):
        evaluator.update(predictions._replace(keypoints=predictions.keypoints[:, :, :16]))


def test_masks_are_scored_beside_keypoints_and_travel_with_their_sample(tmp_path: Path) -> None:
    square = np.array([[100, 100, 2], [180, 100, 2], [140, 180, 2]], dtype=float)
    outline = [[100.0, 100.0, 180.0, 100.0, 180.0, 180.0, 100.0, 180.0]]
    file = write(tmp_path, 2, [annotation(1, 0, square, segmentation=outline, area=6400.0)])
    mask = torch.zeros(400, 400, dtype=torch.bool)
    mask[100:180, 100:180] = True
    keypoints = torch.cat([torch.tensor(square[:, :2]) + 0.5, torch.ones(3, 1)], dim=1).float()
    predictions = Predictions(
        keypoints=torch.stack([torch.stack([keypoints, keypoints]), torch.stack([keypoints, keypoints])]),
        scores=torch.tensor([[float("nan"), 0.9], [0.5, 0.0]]),
        is_valid=torch.tensor([[True, True], [True, False]]),
        sample_id=torch.tensor([0, 1]),
        image_id=torch.tensor([0, 1]),
        masks=((~mask, mask), (mask,)),
    )
    here, there = (CocoKeypointEvaluator(file, skeleton=TRIANGLE) for _ in range(2))
    there.update(predictions)
    there.update(predictions)
    here.merge(there.state())
    figures = here.compute()
    assert figures["AP"] == pytest.approx(1.0)
    assert figures["segm/AP"] == pytest.approx(1.0)
    assert figures["segm/AR1"] == pytest.approx(1.0)
    assert [result["score"] for result in here.mask_results()] == pytest.approx([0.9, 0.5])


def test_masks_without_outlines_to_compare_with_are_refused(tmp_path: Path) -> None:
    square = np.array([[100, 100, 2], [180, 100, 2], [140, 180, 2]], dtype=float)
    evaluator = CocoKeypointEvaluator(write(tmp_path, 1, [annotation(3, 0, square)]), skeleton=TRIANGLE)
    ids = torch.tensor([0])
    found = torch.zeros(1, 1, 3, 3), torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool)
    evaluator.update(Predictions(*found, ids, ids, masks=((torch.ones(400, 400, dtype=torch.bool),),)))
    with pytest.raises(EvaluationError, match="annotation 3: 'segmentation' is missing"):
        evaluator.compute()


def test_people_are_suppressed_once_for_the_metrics_and_the_file(tmp_path: Path) -> None:
    truth, predictions = crowd_scene(tmp_path)
    calls: list[int] = []

    def keep_all(keypoints: np.ndarray, scores: np.ndarray, areas: np.ndarray) -> np.ndarray:
        calls.append(len(scores))
        return np.ones(len(scores), dtype=bool)

    first = Predictions(*(value[:3] if isinstance(value, torch.Tensor) else value for value in predictions))
    evaluator = CocoKeypointEvaluator(truth, suppress=keep_all)
    evaluator.update(first)
    figures = evaluator.compute()
    results = evaluator.results()
    assert len(calls) == 3
    assert evaluator.score(results) == figures
    assert all(set(result) == {"image_id", "category_id", "keypoints", "score"} for result in results)
    evaluator.update(predictions)  # what came since counts
    assert len({result["image_id"] for result in evaluator.results()}) == 7
    other = CocoKeypointEvaluator(truth, suppress=keep_all)
    other.update(first)
    other.results()
    other.merge(evaluator.state())
    assert other.results() == evaluator.results()
    evaluator.reset()
    assert evaluator.results() == []
