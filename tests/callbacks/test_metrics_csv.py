"""One tidy table of everything logged."""

from __future__ import annotations

from pathlib import Path

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


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("step,epoch,metric,value\n1,0,train/cls,2.5\n2,0,tra")
    assert read_metrics(file) == [(1, 0, "train/cls", 2.5)]
