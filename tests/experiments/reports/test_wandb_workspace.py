"""The workspace as ``wandb-workspaces`` writes it, where that is installed; without it, one clear line."""

import builtins
from typing import Any

import pytest

from experiments.reports.collect import ReportTable
from experiments.reports.wandb_run import save_workspace, workspace
from experiments.tables.loader import find_table


def test_every_table_is_a_section_with_its_curves() -> None:
    pytest.importorskip("wandb_workspaces")
    reports = [ReportTable(find_table("ssa", number), (), ("AP",), None, {}, "best") for number in ("3.2", "5")]
    made = workspace(reports, project="p", entity="e")
    assert [section.name for section in made.sections] == [
        f"{report.table.label}: {report.table.title}" for report in reports
    ]
    lines = [panel.y[0] for panel in made.sections[0].panels if type(panel).__name__ == "LinePlot"]
    assert [getattr(line, "name", line) for line in lines] == ["train/heatmap", "train/mask", "train/loss", "val/AP"]
    assert made._to_model().spec


def test_without_the_package_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("wandb_workspaces"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    save_workspace([], project="p", entity="e")
    assert capsys.readouterr().err == (
        "W&B: no workspace: pip install wandb-workspaces (the extra 'wandb') to have one made\n"
    )
