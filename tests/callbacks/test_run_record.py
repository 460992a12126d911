"""What a run leaves behind beside its checkpoints."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import cv2
import pytest

from callbacks import run_record
from callbacks.metrics_csv import MetricsCsv
from callbacks.run_record import RunRecord, draw_curves, git_state


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
