"""What is predicted of an evaluation's images is what the evaluation predicted: the same file, entry by entry."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.coco import CocoDataModule
from datamodules.contracts import last_stage
from datamodules.evaluator import CocoKeypointEvaluator
from experiments.checkpoint import Trained, load_trained
from experiments.predict import main
from experiments.prediction.people import Estimator, People

INSPOSE = ("model.score_threshold=0.0", "model.max_candidates=30", "data.size=96")


@torch.no_grad()
def evaluated(trained: Trained) -> list[dict]:
    data = CocoDataModule(trained.config.data, trained.skeleton)
    data.setup("validate")
    suppress = getattr(trained.module, "suppress", None)
    evaluator = CocoKeypointEvaluator(data.val_annotation_file, skeleton=trained.skeleton, suppress=suppress)
    for batch in data.val_dataloader():
        evaluator.update(last_stage(trained.module.predict(data.on_after_batch_transfer(batch, 0))))  # type: ignore[operator]
    return evaluator.results()


@pytest.mark.parametrize("batch", [1, 3])
def test_whole_images(write_checkpoint: Callable[..., Path], tiny_coco: Path, tmp_path: Path, batch: int) -> None:
    file = write_checkpoint("inspose", f"data.root={tiny_coco}", f"data.val_batch_size={batch}", *INSPOSE)
    expected = evaluated(load_trained(file))
    assert len(expected) > 7
    out = tmp_path / "out"
    assert main(["--checkpoint", str(file), str(tiny_coco / "val2017"), "--out", str(out), "--no-pictures"]) == 0
    assert json.loads((out / "predictions.json").read_text()) == expected


def test_crops_of_a_detectors_boxes(write_checkpoint: Callable[..., Path], tiny_coco: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    boxes = [
        {"image_id": image_id, "category_id": 1, "bbox": [*corner, *size], "score": score}
        for image_id in (1, 2, 2, 2, 5, 7, 7)
        for corner, size, score in [
            (generator.uniform(-3, 30, 2).tolist(), generator.uniform(10, 40, 2).tolist(), float(generator.random()))
        ]
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    given = f"data.detections.file={tmp_path / 'boxes.json'}"
    file = write_checkpoint("ssn", f"data.root={tiny_coco}", given, "data.val_batch_size=4")
    expected = evaluated(load_trained(file))
    assert len({result["image_id"] for result in expected}) == 4
    out = tmp_path / "out"
    arguments = ["--checkpoint", str(file), str(tiny_coco / "val2017"), "--out", str(out), "--no-pictures"]
    assert main([*arguments, "--boxes", str(tmp_path / "boxes.json")]) == 0
    assert json.loads((out / "predictions.json").read_text()) == expected


class Blank(torch.nn.Module):
    def predict(self, batch: object) -> None:
        raise AssertionError("nothing to look at")


def test_people_of_a_photograph_are_the_best_of_its_samples() -> None:
    from datamodules.config import DataConfig
    from datamodules.skeleton import COCO

    estimator = Estimator(Blank(), DataConfig(), COCO, device=torch.device("cpu"))
    nobody = estimator.merge([])
    assert nobody.keypoints.shape == (0, 17, 3)

    def part(scores: list[float]) -> People:
        keypoints = np.tile(np.array(scores, np.float32)[:, None, None], (1, 17, 3))
        boxes = np.tile(np.array(scores, np.float32)[:, None], (1, 4))
        return People(keypoints, np.array(scores, np.float32), boxes, [np.full((1, 1), s > 0.5) for s in scores])

    found = estimator.merge([part([0.2]), part([]), part([0.9, 0.4] + [0.1] * 30)])
    assert found.scores[:3].tolist() == pytest.approx([0.9, 0.4, 0.2])
    assert len(found.scores) == 20
    assert found.boxes is not None
    assert found.masks is not None
    assert np.array_equal(found.boxes[:, 0], found.scores)
    assert [bool(mask) for mask in found.masks[:2]] == [True, False]
