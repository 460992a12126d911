"""The table a run ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from callbacks.progress import duration


def print_summary(report: dict[str, Any], console: Console | None = None) -> None:
    """Figures in percent, and where everything lies. Of given boxes the figures bear whose: AP_gt, AP_det."""
    console = console or Console(highlight=False, soft_wrap=True)
    table = Table(title=f"{report['paper']} · {report['protocol']}", title_justify="left")
    boxes = next((f"_{kind}" for kind in ("gt", "det") if report["protocol"].endswith(f"{kind}-boxes")), "")
    for name in report["figures"]:
        table.add_column(name + boxes if name == "AP" else name, justify="right")
    table.add_row(*("–" if value is None else f"{100 * value:.1f}" for value in report["figures"].values()))
    console.print(table)
    train = report["train"]
    console.print(f"best of {train['epochs']} epochs at step {train['best_step']}, {duration(report['wall_time_s'])}")
    for label, path in (("result", report["result"]), ("pictures", report["pictures"])):
        if path:
            console.print(f"{label:<9}{_short(path)}")


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
