"""What a run leaves behind beside its checkpoints."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch

from callbacks import run_record
from callbacks.metrics_csv import MetricsCsv
from callbacks.run_record import ResumeError, RunRecord, draw_curves, git_state, random_states


def identity() -> dict:
    return {"paper": "toy", "config": {"seed": 3}, "skeleton": "coco", "samples_per_step": 4}


def test_the_result_is_json_that_any_reader_takes(tmp_path: Path) -> None:
    record = RunRecord(tmp_path, identity())
    file = record.write(protocol="p", figures={"AP": 0.5, "APL": math.nan}, train={"steps": 9}, name="n")
    result = json.loads(file.read_text(), parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert result["figures"] == {"AP": 0.5, "APL": None}
    assert (result["seed"], result["name"], result["train"]) == (3, "n", {"steps": 9})
    assert set(result) >= {"paper", "protocol", "git", "versions", "hardware", "wall_time_s", "config"}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_wall_time_adds_up_over_interruptions(tmp_path: Path) -> None:
    record = RunRecord(tmp_path, identity())
    state = record.state_dict()
    state["wall_time"] = 100.0
    record.load_state_dict(state)
    assert 100.0 <= record.wall_time < 110.0


def test_curves_of_losses_and_figures(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "metrics.csv")
    assert draw_curves(logger.file, tmp_path / "curves.png") is None
    for step in range(5):
        logger.log_metrics({"train/cls": 1 / (step + 1), "lr": 0.1}, step=step)
    logger.log_metrics({"val/AP": 0.2, "val/APL": math.nan}, step=4)
    logger.save()
    assert draw_curves(logger.file, tmp_path / "curves.png") == tmp_path / "curves.png"
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape[1] > 1000
    assert picture.std() > 5


def test_git_state_inside_and_outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "__file__", str(tmp_path / "x.py"))
    assert git_state() is None
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    state = git_state()
    assert state is not None
    assert len(state["commit"]) == 40
    assert state["is_modified"] is False
    (tmp_path / "x.py").touch()
    subprocess.run(["git", "-C", str(tmp_path), "add", "x.py"], check=True)
    assert git_state() == {**state, "is_modified": True}


def trainer(rank: int, world: int, step: int = 0) -> Any:
    return SimpleNamespace(global_rank=rank, world_size=world, global_step=step, loggers=[])


def draws(record: RunRecord, fake: Any) -> list[float]:
    torch.manual_seed(3)  # as Lightning seeds every rank alike
    record.on_train_start(fake, None)
    return torch.rand(4).tolist()


def test_ranks_draw_different_numbers_and_the_same_again() -> None:
    first = [draws(RunRecord(Path(), identity()), trainer(rank, 3)) for rank in range(3)]
    assert len({tuple(numbers) for numbers in first}) == 3
    assert first == [draws(RunRecord(Path(), identity()), trainer(rank, 3)) for rank in range(3)]
    torch.manual_seed(3)
    assert first[0] == torch.rand(4).tolist()  # one process is not touched


def test_a_resumed_rank_draws_what_it_would_have_drawn() -> None:
    states, expected = [], []
    for rank in range(2):
        torch.manual_seed(100 + rank)
        states += random_states()
        expected.append(torch.rand(4).tolist())
    for world, ranks in ((2, (0, 1)), (3, (0,))):
        for rank in ranks:
            record = RunRecord(Path(), identity())
            record.load_state_dict({"wall_time": 1.0, "random": states})
            assert draws(record, trainer(rank, world, step=9)) == expected[rank]
    others = []
    for rank in (1, 2):  # on more ranks than before
        record = RunRecord(Path(), identity())
        record.load_state_dict({"wall_time": 1.0, "random": states})
        others.append(draws(record, trainer(rank, 3, step=9)))
    assert others[0] != others[1]
    assert expected[1] not in others


@pytest.mark.parametrize(("key", "other"), [("paper", "ssn"), ("skeleton", "mine"), ("samples_per_step", 8)])
@pytest.mark.fault(16, "checkpoint of another paper, skeleton or batch, resumed", "refused; both are named")
def test_a_checkpoint_of_another_run_is_refused(key: str, other: Any) -> None:
    record = RunRecord(Path(), identity())
    checkpoint = {"run": {**identity(), key: other}, "loops": {}}
    fake: Any = SimpleNamespace(state=SimpleNamespace(fn="fit"))
    with pytest.raises(ResumeError, match=f"the checkpoint has {key} {other}, this run {identity()[key]}"):
        record.on_load_checkpoint(fake, None, checkpoint)
