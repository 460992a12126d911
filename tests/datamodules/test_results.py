import numpy as np
import pytest
import torch

from datamodules.contracts import Predictions
from datamodules.results import MAX_DETECTIONS, best_rows, person_areas, to_result


def test_the_best_twenty_in_order_and_earlier_first_among_equals() -> None:
    scores = np.array([0.1] * 15 + [0.9] * 15, np.float32)
    rows = best_rows(np.zeros((30, 1, 3), np.float32), scores, np.ones(30, np.float32), None)
    assert rows.tolist() == [*range(15, 30), *range(5)]
    assert len(rows) == MAX_DETECTIONS


def test_duplicates_are_judged_best_first() -> None:
    seen: list[list[float]] = []

    def first_alone(keypoints: np.ndarray, scores: np.ndarray, areas: np.ndarray) -> np.ndarray:
        seen.append([*scores.tolist(), *areas.tolist()])
        return np.arange(len(scores)) == 0

    scores, areas = np.array([1.0, 3.0, 2.0], np.float32), np.array([10.0, 30.0, 20.0], np.float32)
    assert best_rows(np.zeros((3, 1, 3), np.float32), scores, areas, first_alone).tolist() == [1]
    assert seen == [[3.0, 2.0, 1.0, 30.0, 20.0, 10.0]]


def test_areas_as_said_or_else_of_boxes_or_else_of_keypoints() -> None:
    keypoints = torch.tensor([[[[1, 1, 0.5], [4, 3, 0.5], [2, 2, 0.5]], [[5, 5, 0.1], [6, 5, 0.1], [5, 9, 0.1]]]])
    ids = torch.tensor([1])
    predictions = Predictions(keypoints, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), ids, ids)
    assert person_areas(predictions).tolist() == [[6.0, 4.0]]
    boxed = predictions._replace(boxes=torch.tensor([[[0.0, 0.0, 5.0, 4.0], [3.0, 3.0, 1.0, 1.0]]]))
    assert person_areas(boxed).tolist() == [[20.0, 0.0]]
    assert person_areas(boxed._replace(areas=torch.tensor([[7.0, 8.0]]))).tolist() == [[7.0, 8.0]]


def test_joints_that_were_not_found_do_not_widen_a_person() -> None:
    keypoints = torch.zeros(1, 2, 3, 3)
    keypoints[0, 0, :2] = torch.tensor([[500.0, 500.0, 0.5], [510.0, 520.0, 0.0]])
    ids = torch.tensor([1])
    predictions = Predictions(keypoints, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), ids, ids)
    assert person_areas(predictions).tolist() == [[200.0, 0.0]]
    nobody = predictions._replace(keypoints=keypoints[:, :0], scores=torch.ones(1, 0))
    assert person_areas(nobody).shape == (1, 0)


def test_results_are_pixel_indices() -> None:
    result = to_result(7, 1, np.array([[10.5, 0.5, 0.25], [3.1239, 4.0, 1.0]], np.float32), 0.75)
    assert (result["image_id"], result["category_id"], result["score"]) == (7, 1, 0.75)
    assert result["keypoints"] == pytest.approx([10.0, 0.0, 0.25, 2.624, 3.5, 1.0])


def test_a_joint_that_was_not_found_has_no_place() -> None:
    result = to_result(7, 1, np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.1]], np.float32), 0.75)
    assert result["keypoints"] == pytest.approx([0.0, 0.0, 0.0, 0.0, 0.0, 0.1])
