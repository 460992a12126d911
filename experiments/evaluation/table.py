"""The tables ``experiments.evaluate`` ends with: figures in percent, the published ones and the difference below."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

LABELS = {"mean_distance_px": "mean distance (px)", "reliable_share": "reliable points (%)"}


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """One table of the keypoints' figures, one of the masks' where there are any, then where everything lies."""
    console = console or Console(highlight=False, soft_wrap=True)
    title = " · ".join(str(report[key]) for key in ("paper", "protocol") if report.get(key)) or report["predictions"]
    if "stages" in report:
        for kind in ("", "segm/"):
            table = _table(f"{title} · {report['images']} images{' · masks' if kind else ''}", report, kind)
            if table.rows:
                console.print(table)
        if report["note"]:
            console.print(report["note"])
    else:
        console.print(f"{title} · {report['images']} images, {report['people']} people; not scored here")
    for key in ("predictions", "submission"):
        if report.get(key):
            console.print(f"{key:<12}{report[key]}")


def print_comparison(report: dict[str, Any], console: Console | None = None) -> None:
    """AP of both files, the difference and its interval."""
    console = console or Console(highlight=False, soft_wrap=True)
    table = Table("", title=f"{report['resamples']} resamples of the images", title_justify="left")
    table.add_column("AP", justify="right")
    table.add_row(report["files"][0], f"{100 * report['first']:.2f}")
    table.add_row(report["files"][1], f"{100 * report['second']:.2f}")
    console.print(table)
    low, high = 100 * report["low"], 100 * report["high"]
    console.print(
        f"difference {100 * report['difference']:+.2f}, {report['confidence']:.0%} interval [{low:+.2f}, {high:+.2f}]; "
        f"the second is better in {report['better']:.0%} of the resamples"
    )
    if low <= 0 <= high:
        console.print("the interval holds 0: these images do not tell which is better")


def _table(title: str, report: dict[str, Any], kind: str) -> Table:
    """A row for each figure; columns: our stages, then each published row and what we are above it."""
    ours = {
        stage: {name.removeprefix(kind): value for name, value in figures.items() if _is_of(name, kind)}
        for stage, figures in report["stages"].items()
    }
    ours = {stage: figures for stage, figures in ours.items() if figures}
    answer = list(report["stages"])[-1]
    table = Table("", title=title, title_justify="left")
    columns: list[dict[str, str]] = []
    for stage, figures in ours.items():
        table.add_column(stage or "ours", justify="right", no_wrap=True)
        columns.append({name: _shown(name, value) for name, value in figures.items()})
    for row in report["published"]:
        for stage, figures in ours.items():
            prefix = kind if stage == answer else f"{stage}/{kind}"
            cells = {name: row["figures"].get(f"{prefix}{name}") for name in figures}
            printed = {name: value for name, value in cells.items() if value is not None}
            if printed:
                table.add_column(row["label"] + (f", {stage}" if len(ours) > 1 else ""), justify="right")
                table.add_column("difference", justify="right", no_wrap=True)
                columns.append({name: f"{value:.1f}" for name, value in printed.items()})
                columns.append({name: _difference(figures.get(name), value) for name, value in printed.items()})
    for name in dict.fromkeys(name for figures in ours.values() for name in figures):
        table.add_row(LABELS.get(name, name), *(column.get(name, "") for column in columns))
    return table


def _is_of(name: str, kind: str) -> bool:
    return name.startswith(kind) if kind else "/" not in name


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if name.endswith("_px") else f"{100 * value:.1f}"


def _difference(ours: float | None, printed: float) -> str:
    return "" if ours is None else f"{100 * ours - printed:+.1f}"
