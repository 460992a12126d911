"""Reads ``metrics.csv``; imports nothing heavy."""

from __future__ import annotations

import csv
from pathlib import Path

COLUMNS = ("step", "epoch", "metric", "value")


def read_metrics(file: Path) -> list[tuple[int, int | str, str, float]]:
    """The rows of ``metrics.csv``; a last line that a crash cut short is left out."""
    rows: list[tuple[int, int | str, str, float]] = []
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            try:
                epoch = int(row["epoch"]) if row["epoch"] else ""
                rows.append((int(row["step"]), epoch, row["metric"], float(row["value"])))
            except (TypeError, ValueError):
                continue
    return rows
