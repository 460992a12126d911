"""The command: what it lists, prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.config import compose, to_plain
from experiments.report import main


@pytest.fixture
def runs(toy_table: Any, tmp_path: Path) -> Path:
    """One finished run of the row ``near``."""
    config = to_plain(compose("toy", None, ["model.start=3.0"]))
    folder = tmp_path / "store" / "toy" / "one"
    folder.mkdir(parents=True)
    content = {"paper": "toy", "protocol": "val2017-single-scale", "figures": {"AP": 0.5}, "config": config}
    (folder / "result.json").write_text(json.dumps(content))
    return tmp_path / "store"


def test_the_list_counts_cells_and_finished_rows(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--runs", str(runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "paper": "toy",
            "table": "1",
            "title": "Where the answer starts",
            "rows": ["near", "far away", "somebody else's"],
            "ours": ["near", "far away"],
            "published_cells": 5,
            "finished": ["near"],
            "note": "val2017-single-scale (recipe)",
        }
    ]
    assert main(["--list", "--rows", "--runs", str(runs)]) == 0
    out = capsys.readouterr().out
    assert "1 of 2" in out
    assert "published only" in out
    assert "not run" in out


def test_every_format_goes_to_a_file(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form, part in (("markdown", "| near | 61.50 | 80.0 | 50.0 |"), ("html", "<!doctype html>"), ("csv", "50.0")):
        out = tmp_path / f"table.{form}"
        assert main(["--paper", "toy", "--runs", str(runs), "--format", form, "--out", str(out)]) == 0
        assert part in out.read_text()
        assert capsys.readouterr().out == f"{out}\n"


def test_runs_can_be_chosen_by_preset_and_setting(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--paper", "toy", "--table", "1", "--runs", str(runs), "--format", "csv"]
    choices = {"--preset recipe": 1, "--preset brief": 0, "optimizer.lr=0.2": 1, "optimizer.lr=0.3": 0}
    choices |= {"optimizer.lr=2e-1": 1, "trainer.compile=false": 1, "trainer.compile=False": 1}
    choices |= {"trainer.compile=true": 0, "data.limit_train=null": 1, "data.crop_size=[256,192]": 1}
    for choice, is_there in choices.items():
        assert main([*common, *choice.split()]) == 0
        assert capsys.readouterr().out.count("ours (") == is_there


def test_mistakes_are_told_in_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([], "--paper is missing (papers: toy)"),
        (["--paper", "toi"], "no tables of paper 'toi'; did you mean toy?"),
        (["--paper", "toy", "--table", "7"], "toy has no table '7' (tables: 1)"),
        (["--paper", "toy", "--out", "/nowhere/at/all"], "No such file"),
        (["--paper", "toy", "--json"], "--json and --rows go with --list"),
        (["--paper", "toy", "--preset", "brif"], "--preset brif: toy has none such (presets: recipe, brief"),
        (["--paper", "toy", "--protocol", "val"], "--protocol val: no run is of it (there are: val2017-single-scale)"),
        (["--paper", "toy", "optimizer.ls=3"], "optimizer.ls: no such key; did you mean optimizer.lr?"),
        (["--paper", "toy", "optimizer.lr"], "'optimizer.lr' is not key=value"),
        (["--paper", "toy", "--runs", "/nowhere"], "--runs /nowhere: no such folder"),
        (["--list", "--runs", "/nowhere"], "--runs /nowhere: no such folder"),
    ):
        assert main(["--runs", str(runs), *arguments]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
