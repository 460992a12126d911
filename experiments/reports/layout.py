"""A table as text: published cells and ours beside each other, differences, and what must be said with them."""

from __future__ import annotations

from typing import NamedTuple

from experiments.reports.collect import Figure, ReportRow, ReportTable
from experiments.tables.table import Column, Row, Table

NOTHING = "–"


class LayoutRow(NamedTuple):
    name: str
    published: tuple[str, ...]
    ours: tuple[str, ...]
    state: str
    """``2 seeds``, ``not run``, ``running (seed0)``; empty for another system's row."""
    is_ours: bool


class Layout(NamedTuple):
    title: str
    published_head: str
    ours_head: str
    published: tuple[str, ...]
    """Column names."""
    ours: tuple[str, ...]
    rows: tuple[LayoutRow, ...]
    warnings: tuple[str, ...]
    """To be read before the figures."""
    notes: tuple[str, ...]


def lay_out(report: ReportTable) -> Layout:
    """Cells as ``62.1 (+1.8)`` and ``61.9 ± 0.2 (+1.6)``: the difference to the baseline row, within one protocol."""
    table = report.table
    protocols = report.protocols
    marks = _marks(table)
    baseline = next(row for row in report.rows if row.row.name == table.baseline)
    rows = []
    for item in report.rows:
        mark = marks.get(item.row.protocol, "")
        ours_mark = "" if not item.results or item.results[0].protocol == protocols[0] else " *"
        rows.append(
            LayoutRow(
                item.row.name + (f" [{mark}]" if mark else ""),
                tuple(published_text(table, item.row, column) for column in table.columns),
                tuple(_ours_text(item, baseline, name) + ours_mark for name in report.figures),
                _state(item),
                item.row.switches is not None,
            )
        )
    return Layout(
        title=f"{table.paper} {table.label}: {table.title}",
        published_head=f"published · {table.protocol}",
        ours_head=f"ours · {protocols[0]}{'' if report.weights == 'best' else ' · last weights'}"
        if protocols
        else "ours · no finished run",
        published=tuple(_head(column) for column in table.columns),
        ours=report.figures,
        rows=tuple(rows),
        warnings=_warnings(report),
        notes=_notes(report, marks),
    )


def published_text(table: Table, row: Row, column: Column) -> str:
    """The cell as printed, and its difference to the baseline's where both stand under one protocol."""
    cell = row.published.get(column.name)
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell
    places = decimals(table, column)
    base = table.find(table.baseline)
    reference = base.published.get(column.name)
    text = f"{cell:.{places}f}"
    if row is base or row.protocol != base.protocol or not isinstance(reference, (int, float)):
        return text
    return f"{text} ({cell - reference:+.{places}f})"


def decimals(table: Table, column: Column) -> int:
    """Digits behind the point, as many as the paper prints in this column."""
    texts = [repr(cell) for row in table.rows if isinstance(cell := row.published.get(column.name), float)]
    return max((len(text.partition(".")[2]) for text in texts), default=1)


def figure_text(figure: Figure | None, base: Figure | None) -> str:
    """``61.9 ± 0.2 (+1.6)``."""
    if figure is None:
        return NOTHING
    text = f"{figure.mean:.1f}" + (f" ± {figure.std:.1f}" if figure.std is not None else "")
    return text if base is None else f"{text} ({figure.mean - base.mean:+.1f})"


def _ours_text(item: ReportRow, baseline: ReportRow, name: str) -> str:
    is_comparable = (
        item is not baseline and item.results and baseline.results
        and item.results[0].protocol == baseline.results[0].protocol
    )  # fmt: skip
    return figure_text(item.ours.get(name), baseline.ours.get(name) if is_comparable else None)


def _state(item: ReportRow) -> str:
    if item.row.switches is None:
        return ""
    n = len(item.results)
    texts = [f"{n} seed{'s' if n != 1 else ''}"] if n else []
    for state in dict.fromkeys(run.state for run in item.unfinished):
        names = [run.directory.name.rpartition("-")[2] for run in item.unfinished if run.state == state]
        texts.append(f"{'begun' if state == 'running' else state}: {', '.join(names)}")
    return "; ".join(texts) or "not run"


def _head(column: Column) -> str:
    return f"{column.figure} ({column.protocol})" if column.protocol else column.figure


def _marks(table: Table) -> dict[str, str]:
    others = dict.fromkeys(row.protocol for row in table.rows if row.protocol != table.protocol)
    return {name: chr(ord("a") + index) for index, name in enumerate(others)}


def _warnings(report: ReportTable) -> tuple[str, ...]:
    found = []
    if report.preset == "smoke":
        found.append("SMOKE RUNS: every part of the program once, a few steps of training. Our figures mean nothing.")
    if any(name.startswith("rendered-") for name in report.protocols):
        found.append("RENDERED PEOPLE, not COCO: our figures cannot be compared with the published ones.")
    elif any(not name.startswith("val2017-") for name in report.protocols):
        found.append("NOT ALL OF COCO val2017: our figures cannot be compared with the published ones.")
    else:
        table = report.table
        names = [*(row.protocol for row in table.ours), *(column.protocol for column in table.columns)]
        protocols = [table.protocols[name] for name in names if name is not None]
        published = list(
            dict.fromkeys(protocol.name_of_ours for protocol in protocols if protocol.flip != "not stated")
        )
        if other := [name for name in report.protocols if name not in published]:
            found.append(
                f"OURS ARE OF {', '.join(other)}, the published of {', '.join(published)}: they cannot be compared."
            )
    return tuple(found)


def _other_weights(report: ReportTable) -> list[str]:
    """The metrics of the weights that the table does not show, one note."""
    other = "last" if report.weights == "best" else "best"
    found = [
        f"{item.row.name} " + ", ".join(f"{name} {_number(figure)}" for name, figure in metrics.items())
        for item in report.rows
        if (metrics := {name: item.others[name] for name in item.others if name != "params_M"})
    ]
    return [f"ours, {report.weights} weights; with the {other} weights: {'; '.join(found)}"] if found else []


def _number(figure: Figure) -> str:
    return f"{figure.mean:.1f}" if figure.std is None else f"{figure.mean:.1f} ± {figure.std:.1f}"


def _notes(report: ReportTable, marks: dict[str, str]) -> tuple[str, ...]:
    table = report.table
    notes = [f"published, {table.protocol}: {table.protocols[table.protocol].text}"]
    for column in table.columns:
        if column.protocol not in (None, table.protocol):
            notes.append(f"published, {column.protocol}: {table.protocols[column.protocol].text}")
    notes += [f"[{mark}] published, {name}: {table.protocols[name].text}" for name, mark in marks.items()]
    if report.protocols:
        notes.append(f"ours: {report.protocols[0]}, {report.preset or 'recipe'}, mean ± sample deviation over seeds")
        notes += [f"* ours: {name}" for name in report.protocols[1:]]
        notes += _other_weights(report)
    if report.changes:
        notes.append("ours depart from their rows in " + ", ".join(f"{k}={v}" for k, v in report.changes.items()))
    if report.protocols and "params_M" in report.figures:
        notes.append(f"params_M of ours is in training; at inference: experiments.complexity --paper {table.paper}")
    notes.append(f"signed numbers: the difference to {table.baseline!r}, within one protocol")
    return tuple(dict.fromkeys(notes))
