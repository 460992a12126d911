"""Finished runs to list, and how long the list takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.benchmarks.report_list import main, write_runs
from experiments.reports.collect import collect
from experiments.reports.store import read_runs
from experiments.tables.loader import list_tables, load_tables


def test_the_runs_are_those_of_the_tables_rows(tmp_path: Path) -> None:
    write_runs(tmp_path, 12)
    runs = read_runs(tmp_path)
    assert sum(map(len, runs.results.values())) == 12
    reports = [collect(table, runs) for paper in list_tables() for table in load_tables(paper).values()]
    groups = {
        f"{report.table.paper}/{report.table.slug}/{item.row.slug}"
        for report in reports
        for item in report.rows
        if item.results
    }
    assert {result.group for results in runs.results.values() for result in results} <= groups
    assert all(report.changes == {} for report in reports)


def test_the_list_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "2"]) == 0
    assert re.fullmatch(r"2 runs: \d+\.\d\d s, \d+\.\d\d s of processor time\n", capsys.readouterr().out)
