"""Scoring together: one gathering that every rank enters, and the same answer for all."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from callbacks import coco_evaluation
from callbacks.coco_evaluation import CocoEvaluation, score_together
from datamodules.config import OnBadAnnotation
from datamodules.contracts import Predictions
from datamodules.evaluator import FIGURES
from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.reliable_share import ReliableShare


class FakeEvaluator:
    """Counts what is merged; its figure is the number of samples."""

    def __init__(self, samples: dict[int, str], fails: bool = False) -> None:
        self.samples, self.fails = samples, fails

    def state(self) -> dict[int, str]:
        return self.samples

    def merge(self, state: dict[int, str]) -> None:
        self.samples = {**state, **self.samples}

    def compute(self) -> dict[str, float]:
        if self.fails:
            raise ValueError("no such image")
        return {"AP": float(len(self.samples))}


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch):
    """``ranks(evaluators)`` runs ``score_together`` for rank 0, then for the others with what rank 0 broadcast."""

    def run(evaluators: list[FakeEvaluator]) -> list[Any]:
        sent: list[Any] = []
        answers: list[Any] = []
        for rank in range(len(evaluators)):

            def gather(state: Any, states: list[Any] | None, dst: int, rank: int = rank) -> None:
                assert (states is not None) == (rank == dst == 0)
                assert state == [evaluators[rank].state()]
                if states is not None:
                    states[:] = [[evaluator.state()] for evaluator in evaluators]

            def broadcast(values: list[Any], src: int, rank: int = rank) -> None:
                if rank == src:
                    sent.append(values[0])
                else:
                    values[0] = sent[0]

            fake = SimpleNamespace(
                is_available=lambda: True,
                is_initialized=lambda: True,
                get_world_size=lambda: len(evaluators),
                get_rank=lambda rank=rank: rank,
                gather_object=gather,
                broadcast_object_list=broadcast,
            )
            monkeypatch.setattr(coco_evaluation, "dist", fake)
            try:
                answers.append(score_together(evaluators[rank]))
            except ValueError as error:
                answers.append(error)
        return answers

    return run


def test_all_ranks_get_the_figures_of_all_samples(ranks: Any) -> None:
    evaluators = [FakeEvaluator({0: "a", 2: "c"}), FakeEvaluator({1: "b", 0: "again"})]
    assert ranks(evaluators) == [{"AP": 3.0}, {"AP": 3.0}]
    assert evaluators[0].samples[0] == "a"


def test_an_error_of_rank_0_is_raised_on_all(ranks: Any) -> None:
    answers = ranks([FakeEvaluator({}, fails=True), FakeEvaluator({})])
    assert [str(answer) for answer in answers] == ["no such image"] * 2


class OneStage(SimpleNamespace):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(logged={}, **attributes)
        self.log_dict = self.logged.update


def predictions(x: float) -> Predictions:
    """One person a sample: the truth moved by ``x`` pixels."""
    keypoints = torch.zeros(1, 1, 17, 3)
    keypoints[..., 0], keypoints[..., 1] = torch.arange(17.0) * 5 + 20.5 + x, torch.arange(17.0) * 4 + 30.5
    ids = torch.tensor([7])
    return Predictions(keypoints, torch.ones(1, 1), torch.ones(1, 1).bool(), ids, ids)


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    points = [value for i in range(17) for value in (20 + 5 * i, 30 + 4 * i, 2)]
    person = {"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "keypoints": points, "num_keypoints": 17}
    person |= {"bbox": [10, 20, 100, 90], "area": 9000}
    content = {
        "images": [{"id": 7, "file_name": "7.jpg", "width": 200, "height": 200}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person"}],
    }
    file = tmp_path / "annotations.json"
    file.write_text(json.dumps(content))
    data = SimpleNamespace(
        val_annotation_file=file,
        val_image_ids=[7],
        skeleton=COCO,
        val_people_are_given=False,
        config=SimpleNamespace(on_bad_annotation=OnBadAnnotation.error),
    )
    return SimpleNamespace(datamodule=data, is_global_zero=True, sanity_checking=False)


def evaluate(callback: CocoEvaluation, trainer: Any, module: Any, outputs: Any, batch: Any = None) -> dict[str, float]:
    callback.on_validation_epoch_start(trainer, module)
    callback.on_validation_batch_end(trainer, module, outputs, batch, 0)
    callback.on_validation_epoch_end(trainer, module)
    return module.logged


def test_one_stage_logs_its_figures(trainer: Any) -> None:
    callback = CocoEvaluation()
    logged = evaluate(callback, trainer, OneStage(), predictions(0.0))
    assert logged["val/AP"] == callback.figures["AP"] == pytest.approx(1.0)
    assert set(logged) == {f"val/{name}" for name in FIGURES}


def test_stages_are_scored_by_name_and_the_last_is_the_answer(trainer: Any, tmp_path: Path) -> None:
    callback = CocoEvaluation(tmp_path / "predictions.json")
    module = OneStage(stages=("stage1", "stage2"))
    logged = evaluate(callback, trainer, module, {"stage1": predictions(12.0), "stage2": predictions(0.0)})
    assert logged["val/stage1/AP"] < 0.99
    assert logged["val/stage2/AP"] == logged["val/AP"] == callback.figures["AP"] == pytest.approx(1.0)
    assert callback.figures["stage1/AP"] == logged["val/stage1/AP"]
    assert "stage2/AP" not in callback.figures
    assert json.loads((tmp_path / "predictions.json").read_text())[0]["keypoints"][0] == 20.0


def test_what_the_data_drop_is_not_scored(trainer: Any) -> None:
    file = trainer.datamodule.val_annotation_file
    content = json.loads(file.read_text())
    content["annotations"].append({**content["annotations"][0], "id": 2, "keypoints": [1, 2, 2]})
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="annotation 2: 3 keypoint values"):
        evaluate(CocoEvaluation(), trainer, OneStage(), predictions(0.0))
    trainer.datamodule.config.on_bad_annotation = OnBadAnnotation.drop
    assert evaluate(CocoEvaluation(), trainer, OneStage(), predictions(0.0))["val/AP"] == pytest.approx(1.0)


@pytest.mark.fault(25, "NaN coordinates of some people in an evaluation", "left out; how many is told")
def test_people_left_out_for_their_numbers_are_told(trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(CocoEvaluation(), trainer, OneStage(), predictions(float("nan")))["val/AP"] == 0.0
    assert capsys.readouterr().err == (
        "warning: people left out of the figures because a score or a coordinate is not finite: 1\n"
    )
    evaluate(CocoEvaluation(), trainer, OneStage(), predictions(0.0))
    assert capsys.readouterr().err == ""


def test_the_modules_suppression_is_asked(trainer: Any) -> None:
    module = OneStage(suppress=lambda keypoints, scores, areas: np.zeros(len(scores), dtype=bool))
    assert evaluate(CocoEvaluation(), trainer, module, predictions(0.0))["val/AP"] == 0.0


def test_each_stage_has_its_distance_where_people_are_given(trainer: Any) -> None:
    trainer.datamodule.val_people_are_given = True
    truth = predictions(0.0).keypoints[..., :2]
    seen = torch.full((1, 1, 17), 2)
    input_hw = torch.tensor([[1000, 1000]])
    meta = SimpleNamespace(sample_id=torch.tensor([7]), to_original=torch.eye(2, 3)[None], input_hw=input_hw)
    persons = SimpleNamespace(keypoints=truth, visibility=seen, is_real=torch.ones(1, 1).bool())
    batch = SimpleNamespace(persons=persons, meta=meta)
    callback, module = CocoEvaluation(), OneStage(stages=("stage1", "stage2"))
    stages = {"stage1": predictions(12.0), "stage2": predictions(-3.0)}
    for _ in range(2):  # an evaluation does not remember the one before
        logged = evaluate(callback, trainer, module, stages, batch)
        stages = {"stage1": predictions(12.0), "stage2": predictions(0.5)}
    assert logged["val/stage1/mean_distance_px"] == callback.figures["stage1/mean_distance_px"] == pytest.approx(12.0)
    assert logged["val/mean_distance_px"] == callback.figures["mean_distance_px"] == pytest.approx(0.5)
    assert [name for name in callback.figures if name not in FIGURES] == [
        "mean_distance_px",
        "stage1/AP",
        "stage1/mean_distance_px",
    ]


def test_a_modules_own_measure_is_logged_with_its_stage(trainer: Any) -> None:
    module = OneStage(stages=("stage1", "stage2"), measures={"stage2": ReliableShare(0.5)})
    scored = predictions(0.0)
    scored.keypoints[..., 2] = torch.linspace(0.0, 1.0, 17)
    callback = CocoEvaluation()
    evaluate(callback, trainer, module, {"stage1": scored, "stage2": predictions(0.0)})
    assert callback.figures["reliable_share"] == 0.0
    logged = evaluate(callback, trainer, module, {"stage1": scored, "stage2": scored})  # remembers nothing
    assert logged["val/reliable_share"] == callback.figures["reliable_share"] == pytest.approx(8 / 17)
    assert logged["val/stage2/reliable_share"] == pytest.approx(8 / 17)
    assert "val/stage1/reliable_share" not in logged
