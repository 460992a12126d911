"""The table ``experiments.diagnose`` ends with: how often each kind of error is, and what it costs."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from datamodules.keypoint_errors import KINDS


def print_report(report: dict[str, Any]) -> None:
    """A row for each kind: how often, and what it costs; of a single diagnosis also its parts of the whole."""
    console = Console(highlight=False, soft_wrap=True)
    several = len(report["diagnoses"]) > 1
    table = Table("", title=f"what costs AP · {report['images']} images", title_justify="left")
    rows: dict[str, list[str]] = {kind: [] for kind in (*KINDS, "AP", "AP, all repaired")}
    for name, diagnosis in report["diagnoses"].items():
        for heading in ("number", "AP gain") if several else ("number", "part", "AP gain", "share of the loss"):
            table.add_column(f"{name}\n{heading}" if several else heading, justify="right")
        keypoints, people = diagnosis["keypoints"], diagnosis["people"]
        whole = {**dict.fromkeys(keypoints, sum(keypoints.values())), "false_negative": people["annotated"]}
        for kind in KINDS:
            number = keypoints.get(kind, people.get(kind))
            part = f"{100 * number / whole[kind]:.1f}%" if whole.get(kind) else ""
            gain, share = f"{100 * diagnosis['gains'][kind]:+.1f}", f"{diagnosis['shares'][kind]:.0%}"
            rows[kind] += [str(number), gain] if several else [str(number), part, gain, share]
        for label, key in (("AP", "AP"), ("AP, all repaired", "AP_repaired")):
            figure = f"{100 * diagnosis[key]:.1f}"
            rows[label] += ["", figure] if several else ["", "", figure, ""]
    for kind, cells in rows.items():
        table.add_row(kind.replace("_", " "), *cells)
    console.print(table)
    if not several:
        console.print("part: of the labelled keypoints of people found; of false negatives, of the annotated people")
    for file in report["files"]:
        console.print(file)
