"""One tidy table of everything logged."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from callbacks.metrics_csv import MetricsCsv
from callbacks.metrics_file import read_metrics


def test_rows_are_appended_and_later_steps_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    logger = MetricsCsv(file)
    logger.log_metrics({"train/cls": 2.5, "epoch": 0}, step=0)
    logger.save()
    logger.log_metrics({"train/cls": 1.5, "train/box": 0.25, "epoch": 1}, step=4)
    logger.finalize("success")
    assert file.read_text().splitlines()[0] == "step,epoch,metric,value"
    assert read_metrics(file) == [(1, 0, "train/cls", 2.5), (5, 1, "train/cls", 1.5), (5, 1, "train/box", 0.25)]

    resumed = MetricsCsv(file)
    resumed.forget_after(4)
    resumed.log_metrics({"lr": 0.1}, step=4)
    resumed.save()
    assert read_metrics(file) == [(1, 0, "train/cls", 2.5), (5, "", "lr", 0.1)]


@pytest.mark.fault(17, "disk full while a resumed run drops the later rows of its log", "the log is as it was")
def test_an_interruption_while_rows_are_forgotten_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "metrics.csv"
    logger = MetricsCsv(file)
    logger.log_metrics({"train/cls": 2.5}, step=0)
    logger.log_metrics({"train/cls": 1.5}, step=4)
    logger.save()
    before = file.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(csv, "writer", full)
        with pytest.raises(OSError, match="No space left"):
            MetricsCsv(file).forget_after(1)
    assert file.read_text() == before
    MetricsCsv(file).forget_after(1)
    assert read_metrics(file) == [(1, "", "train/cls", 2.5)]
    assert list(tmp_path.iterdir()) == [file]


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("step,epoch,metric,value\n1,0,train/cls,2.5\n2,0,tra")
    assert read_metrics(file) == [(1, 0, "train/cls", 2.5)]
