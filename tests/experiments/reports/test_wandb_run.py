"""What W&B is given, read back from the file it writes offline.

The file and not a server that speaks the protocol: the file holds the very records that would be sent, in W&B's own
format, so nothing of W&B has to be imitated; what a server makes of them is W&B's own affair.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wandb

from experiments.ablation.plan import make_jobs
from experiments.report import main as report
from experiments.run import main as run
from experiments.tables.loader import find_table
from tests.wandb_file import read_run, read_run_file


@pytest.mark.slow
def test_a_row_is_one_run_over_interruption_and_its_report_holds_table_curves_and_pictures(
    toy_table: Any, tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    table = find_table("toy", "1")
    common = [f"data.root={tiny_coco}", f"output.root={tmp_path}/runs", "wandb.mode=offline"]
    job = make_jobs(table, [table.find("far away")], [3], None, common)[0]
    monkeypatch.setenv("TOY_SIGNAL_AT", "6")
    assert run([*job.arguments, "--resume"]) == 130
    monkeypatch.delenv("TOY_SIGNAL_AT")
    assert run([*job.arguments, "--resume"]) == 0

    wandb.teardown()  # the service has written its files when it has ended
    files = sorted(job.directory.glob("wandb/offline-run-*/run-*.wandb"))
    first, second = (read_run_file(file) for file in files)
    for half in (first, second):
        assert half.run.run_group == "toy/table1/far-away"
        assert half.run.display_name == "far-away-seed3"
        assert half.run.job_type == "train"
        assert half.config["model"]["start"] == 12.0
        assert half.config["seed"] == 3
        assert half.metrics["*"] == "trainer/global_step"
    assert first.run.run_id == second.run.run_id
    assert (first.exit_code, second.exit_code) == (1, 0)
    result = json.loads((job.directory / "result.json").read_text())
    assert "best/AP" not in first.summary
    assert second.summary["last/AP"] == pytest.approx(result["last"]["figures"]["AP"])
    assert second.summary["best/AP"] == pytest.approx(result["figures"]["AP"])
    steps = [step["trainer/global_step"] for half in (first, second) for step in half.history if "train/offset" in step]
    assert steps == list(range(9))  # every step once, over both halves

    assert report(["--paper", "toy", "--table", "1", "--runs", str(tmp_path / "runs"), "--wandb"]) == 0
    wandb.teardown()
    folder = tmp_path / "runs" / "toy"
    told = read_run(folder)
    assert told.run.job_type == "report"
    assert told.run.run_group == "toy/table1"
    assert told.run.run_id.startswith("report-toy-table1-")
    assert told.config["protocols"] == ["tiny-val2017-7-images-single-scale"]
    (logged,) = [step for step in told.history if "table" in step]
    assert logged["table"]["_type"] == "table-file"
    files_folder = next(folder.glob("wandb/offline-run-*/files"))
    content = json.loads((files_folder / logged["table"]["path"]).read_text())
    assert content["columns"][0] == "row"
    assert "published · val: AP" in content["columns"]
    assert "ours · tiny-val2017-7-images-single-scale: AP" in content["columns"]
    assert [row[0] for row in content["data"]] == ["near", "far away", "somebody else's"]
    ap = 100 * result["figures"]["AP"]
    assert content["data"][1][3] == f"{ap:.1f}"
    assert logged["pictures/far-away"]["_type"] == "image-file"
    assert (files_folder / logged["pictures/far-away"]["path"]).is_file()
    assert any(key.startswith("curves/") for key in logged)
    assert told.summary["far-away/AP"] == pytest.approx(ap)
