"""The table a run ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from callbacks.progress import duration

HEADINGS = {"mean_distance_px": "mean\ndist.\n(px)", "reliable_share": "reli-\nable"}
"""Of columns that would be wider than 80 characters allow."""


def print_summary(report: dict[str, Any], console: Console | None = None) -> None:
    """Figures in percent, and where everything lies. Of given boxes the figures bear whose: AP_gt, AP_det.

    Figures that are named ``…_px`` are shown in pixels.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    title = f"{report['paper']} · {report['protocol']}"
    boxes = next((f"_{kind}" for kind in ("gt", "det") if report["protocol"].endswith(f"{kind}-boxes")), "")
    for kind, figures in _by_kind(report["figures"]).items():
        table = Table(title=f"{title} · {kind}" if kind else title, title_justify="left")
        for name in figures:
            table.add_column(name + boxes if name == "AP" else HEADINGS.get(name, name), justify="right")
        table.add_row(*(_number(name, value) for name, value in figures.items()))
        console.print(table)
    train = report["train"]
    epochs = f"{train['epochs']} epoch{'s' if train['epochs'] != 1 else ''}"
    last = report.get("last")
    at_the_end = f"; last, step {last['step']}: AP {_number('AP', last['figures'].get('AP'))}" if last else ""
    console.print(f"best of {epochs} at step {train['best_step']}, {duration(report['wall_time_s'])}{at_the_end}")
    for label, path in (("result", report["result"]), ("pictures", report["pictures"])):
        if path:
            console.print(f"{label:<9}{_short(path)}")


def _by_kind(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Figures such as ``segm/AP`` apart from the keypoints' own, whose kind is empty: one table each."""
    kinds: dict[str, dict[str, Any]] = {}
    for key, value in figures.items():
        kind, _, name = key.rpartition("/")
        kinds.setdefault(kind, {})[name] = value
    return kinds


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if name.endswith("_px") else f"{100 * value:.1f}"


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
