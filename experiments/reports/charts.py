"""Curves of a table's runs as SVG, from their ``metrics.csv``. No library, so that a page needs none."""

from __future__ import annotations

import math
from collections import defaultdict
from html import escape
from typing import NamedTuple

from callbacks.metrics_file import read_metrics
from experiments.reports.collect import ReportTable

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b")
"""Told apart by colour-blind readers as well (Okabe and Ito)."""
WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 28, 34


class Curve(NamedTuple):
    label: str
    number: int
    """Of its row, which chooses the colour."""
    points: list[tuple[float, float]]
    """Optimizer step, value; by step."""


def curves(report: ReportTable, metric: str) -> list[Curve]:
    """One curve per row: the mean over its seeds at every step that all of them have."""
    found = []
    for index, item in enumerate(row for row in report.rows if row.row.switches is not None):
        by_step: dict[int, dict[int, float]] = defaultdict(dict)
        for result in item.results:
            file = result.directory / "metrics.csv"
            for step, _, name, value in read_metrics(file) if file.is_file() else ():
                if name == metric and math.isfinite(value):
                    by_step[step][result.seed] = value
        scale = 100.0 if metric.startswith("val/A") else 1.0
        whole = sorted((step, seeds) for step, seeds in by_step.items() if len(seeds) == len(item.results))
        points = [(float(step), scale * sum(seeds.values()) / len(seeds)) for step, seeds in whole]
        if points:
            found.append(Curve(item.row.name, index, points))
    return found


def metrics_of(report: ReportTable) -> list[str]:
    """What is drawn: the paper's own figure of this table where there is one, the loss, and AP."""
    own = list(report.table.curves.metrics) if report.table.curves else []
    scored = [column.figure for column in report.table.columns if column.is_scored]
    main = scored[0] if scored and "AP" not in scored else "AP"
    return list(dict.fromkeys([*own, "train/loss", f"val/{main}"]))


def chart(name: str, drawn: list[Curve]) -> str:
    """An ``<svg>`` of curves over the optimizer step; a point alone is a dot.

    Raises:
        ValueError: there is no curve.
    """
    if not drawn:
        raise ValueError(f"{name}: nothing to draw")
    xs = [x for curve in drawn for x, _ in curve.points]
    ys = [y for curve in drawn for _, y in curve.points]
    x_ticks, y_ticks = ticks(min(0.0, *xs), max(xs)), ticks(min(0.0, *ys), max(ys))
    x_low, x_high = min(0.0, *xs), max(max(xs), x_ticks[-1])
    y_low, y_high = min(min(0.0, *ys), y_ticks[0]), max(max(ys), y_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        right = (x - x_low) / ((x_high - x_low) or 1.0)
        up = (y - y_low) / ((y_high - y_low) or 1.0)
        return LEFT + right * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">']
    parts.append(f'<text class="title" x="{LEFT}" y="16">{escape(name)}</text>')
    for tick in y_ticks:
        _, y = place(0, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        x, _ = place(tick, 0)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">optimizer step</text>')
    for curve in drawn:
        color = COLORS[curve.number % len(COLORS)]
        placed = [place(x, y) for x, y in curve.points]
        title = f"<title>{escape(curve.label)}</title>"
        if len(placed) == 1:
            x, y = placed[0]
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}">{title}</circle>')
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(f'<polyline points="{path}" stroke="{color}">{title}</polyline>')
    return "".join([*parts, "</svg>"])


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round values from ``low`` up to the first at or above ``high``."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * count >= span * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]
