"""Rows that differ in their test only share one training, and say whose checkpoint they test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from experiments import ablate, run
from experiments.ablation import tested_row
from experiments.ablation.jobs import Jobs
from experiments.ablation.plan import Job, State, make_jobs, state_of
from experiments.config import compose, to_plain
from experiments.tables.loader import find_table, load_tables

TABLE = """
paper: toy
protocols:
  val: {split: val2017, boxes: none, flip: false, scales: single, schedule: 3 epochs}
tables:
  "1":
    title: Where the answer goes
    protocol: val
    baseline: as it is
    columns: [AP]
    rows:
      - row: far off
        set: {model.decode.shift: 40.0}
      - row: as it is
        set: {model.decode.shift: 0.0}
      - row: another start
        set: {model.start: 3.0}
"""


@pytest.fixture
def table(toy_table: Any, tmp_path: Path) -> Any:
    (tmp_path / "tables" / "toy.yaml").write_text(TABLE)
    return find_table("toy", "1")


def test_the_row_that_is_tested_as_the_recipe_is_trained_and_first(table: Any) -> None:
    jobs = make_jobs(table, list(table.ours), [0, 1], None, [])
    assert [(job.row.name, job.seed, job.trained_by) for job in jobs] == [
        ("as it is", 0, None),
        ("another start", 0, None),
        ("far off", 0, "table1-as-it-is-seed0"),
        ("as it is", 1, None),
        ("another start", 1, None),
        ("far off", 1, "table1-as-it-is-seed1"),
    ]
    alone = make_jobs(table, [table.find("far off")], [0], None, [])
    assert [job.trained_by for job in alone] == [None]
    shifted = make_jobs(table, list(table.ours), [0], None, ["model.start=5"])
    assert [job.trained_by for job in shifted] == [None, *["table1-as-it-is-seed0"] * 2]


@pytest.mark.parametrize(("paper", "table", "rows", "trained"), [("ssn", "2", 22, 4), ("inspose", "5", 6, 3)])
def test_the_papers_tables_train_what_the_paper_trained(paper: str, table: str, rows: int, trained: int) -> None:
    found = load_tables(paper)[table]
    jobs = make_jobs(found, list(found.ours), [0], None, [])
    assert len(jobs) == rows
    assert len([job for job in jobs if job.trained_by is None]) == trained
    if paper == "ssn":
        assert all(job.row.name.endswith("P4") for job in jobs if job.trained_by is None)


def test_a_row_is_tested_on_the_others_checkpoint(
    table: Any, tiny_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"data.root={tiny_coco}", f"output.root={tmp_path}/runs"]
    jobs = make_jobs(table, [table.find("far off"), table.find("as it is")], [0], None, common)
    trained, tested = jobs
    assert run.main(list(trained.arguments)) == 0
    assert tested_row.main([str(trained.directory), *tested.arguments]) == 0
    assert state_of(tested) == State("finished", "", tested.directory)
    of_trained, result = (json.loads((job.directory / "result.json").read_text()) for job in jobs)
    assert result["checkpoint"] == str(trained.directory / of_trained["checkpoint"])
    assert result["config"]["model"]["decode"]["shift"] == 40.0
    assert result["config"]["wandb"]["group"] == "toy/table1/far-off"
    assert (result["train"], result["protocol"]) == (of_trained["train"], of_trained["protocol"])
    assert not list(tested.directory.glob("*.ckpt"))
    here, there = (json.loads((job.directory / "predictions.json").read_text()) for job in jobs)
    points = [torch.tensor(entries[0]["keypoints"]).view(-1, 3)[:, :2] for entries in (here, there)]
    assert torch.allclose(points[1], points[0] + 40.0, atol=2e-3)  # the format rounds to a thousandth

    (tested.directory / "result.json").unlink()
    (trained.directory / of_trained["checkpoint"]).write_bytes(b"damaged")
    capsys.readouterr()
    assert tested_row.main([str(trained.directory), *tested.arguments]) == 2
    assert "damaged" in capsys.readouterr().err
    assert state_of(tested).kind == "failed"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path | None]]:
    """Jobs as they are started, with the run they test; each is finished at once, but those of another start fail."""
    calls: list[tuple[str, Path | None]] = []

    def start(self: Jobs, job: Job, source: Path | None) -> State:
        calls.append((job.row.name, source))
        if "optimizer.lr=0.9" in job.arguments:
            return State("failed", "NaN")
        config = to_plain(compose("toy", None, [text for text in job.arguments if "=" in text]))
        (job.directory / "result.json").write_text(json.dumps({"config": config}))
        (job.directory / "config.yaml").write_text(yaml.safe_dump(config))
        return state_of(job)

    monkeypatch.setattr(Jobs, "_start", start)
    return calls


def test_what_is_tested_waits_for_its_training(
    table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[tuple[str, Path | None]]
) -> None:
    command = ["--paper", "toy", "--table", "1", "--no-probe", f"output.root={tmp_path}/runs"]
    assert ablate.main([*command, "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert "2 runs to do" in plan
    assert "1 row to test on the checkpoint of another" in plan
    assert ablate.main(command) == 0
    folder = tmp_path / "runs" / "toy" / "table1-as-it-is-seed0"
    assert started == [("as it is", None), ("another start", None), ("far off", folder)]
    assert ablate.main(command) == 0
    assert len(started) == 3

    begun = tmp_path / "begun" / "toy" / "table1-far-off-seed0"
    begun.mkdir(parents=True)
    (begun / "last.ckpt").touch()
    options = [text for text in make_jobs(table, [table.find("far off")], [0], None, [])[0].arguments if "=" in text]
    (begun / "config.yaml").write_text(yaml.safe_dump(to_plain(compose("toy", None, options))))
    assert ablate.main([*command, f"output.root={tmp_path}/begun"]) == 0
    assert started[3:] == [("as it is", None), ("another start", None), ("far off", None)]


def test_without_its_training_a_row_fails(
    table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[tuple[str, Path | None]]
) -> None:
    command = ["--paper", "toy", "--table", "1", "--no-probe", f"output.root={tmp_path}/runs", "optimizer.lr=0.9"]
    assert ablate.main(command) == 1
    assert [name for name, _ in started] == ["as it is", "another start"]
    assert "table1-far-off-seed0: failed, table1-as-it-is-seed0 is not trained" in capsys.readouterr().out
