"""A laid-out table for a terminal, as Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from experiments.reports.collect import ReportTable
from experiments.reports.layout import Layout

_TEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "±": "$\\pm$",
    "–": "--",
    "·": "$\\cdot$",
    "γ": "$\\gamma$",
    "α": "$\\alpha$",
    "<": "$<$",
    ">": "$>$",
}


def terminal(layout: Layout, width: int) -> str:
    """Published beside ours where both fit into ``width`` characters, else one below the other."""
    from rich.console import Console
    from rich.text import Text

    beside = _grid(layout, published=True, ours=True)
    console = Console(file=io.StringIO(), width=10_000, highlight=False)
    grids: list[Any] = [beside]
    if console.measure(beside).maximum > width:
        grids = [_grid(layout, published=True, ours=False), _grid(layout, published=False, ours=True)]
    out = io.StringIO()
    console = Console(file=out, width=max(width, *(console.measure(grid).maximum for grid in grids)), highlight=False)
    for warning in layout.warnings:
        console.print(warning, markup=False)
    console.print(Text(layout.title, style="bold"))
    for grid in grids:
        console.print(grid)
    for note in layout.notes:
        console.print(note, markup=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def markdown(layout: Layout) -> str:
    head = [
        "row",
        *(f"published {name}" for name in layout.published),
        *(f"ours {name}" for name in layout.ours),
        "runs",
    ]
    rule = [":--", *["--:"] * (len(head) - 2), ":--"]
    lines = [f"# {layout.title}", ""]
    lines += [f"> **{warning}**  " for warning in layout.warnings]
    lines += [""] if layout.warnings else []
    lines += [f"Columns: {layout.published_head}; {layout.ours_head}.", ""]
    for cells in (head, rule, *([row.name, *row.published, *row.ours, row.state] for row in layout.rows)):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", *(f"- {note}" for note in layout.notes)]
    return "\n".join(lines) + "\n"


def latex(layout: Layout) -> str:
    """A ``table`` environment; needs ``booktabs``."""
    published, ours = len(layout.published), len(layout.ours)
    first = f"\\multicolumn{{{published}}}{{c}}{{{_tex(layout.published_head)}}}"
    second = f"\\multicolumn{{{ours}}}{{c}}{{{_tex(layout.ours_head)}}}"
    names = ["", *layout.published, *layout.ours, "runs"]
    caption = " ".join([layout.title + ".", *layout.warnings, *(note + "." for note in layout.notes)])
    lines = [
        "% needs \\usepackage{booktabs}",
        *(f"% {warning}" for warning in layout.warnings),
        "\\begin{table}",
        "\\centering",
        f"\\begin{{tabular}}{{l{'r' * (published + ours)}l}}",
        "\\toprule",
        f"& {first} & {second} & \\\\",
        f"\\cmidrule(lr){{2-{published + 1}}} \\cmidrule(lr){{{published + 2}-{published + ours + 1}}}",
        " & ".join(map(_tex, names)) + " \\\\",
        "\\midrule",
        *(" & ".join(map(_tex, [row.name, *row.published, *row.ours, row.state])) + " \\\\" for row in layout.rows),
        "\\bottomrule",
        "\\end{tabular}",
        f"\\caption{{{_tex(caption)}}}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def comma_separated(report: ReportTable) -> str:
    """One line per figure: ``paper, table, row, source, protocol, column, value, std, n, difference``."""
    table = report.table
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = ("paper", "table", "row", "source", "protocol", "column", "value", "std", "n", "difference")
    writer.writerow(columns)
    base = next(item for item in report.rows if item.row.name == table.baseline)
    for item in report.rows:
        row = item.row
        for column in table.columns:
            cell, reference = row.published.get(column.name), base.row.published.get(column.name)
            if cell is None:
                continue
            protocol = column.protocol or row.protocol
            difference: Any = ""
            is_comparable = row.protocol == base.row.protocol
            if is_comparable and isinstance(cell, float | int) and isinstance(reference, float | int):
                difference = round(cell - reference, 6)
            start = (table.paper, table.number, row.name, "published", protocol, column.figure)
            writer.writerow((*start, cell, "", "", difference))
        for name, figure in item.ours.items():
            protocol = item.results[0].protocol
            difference = ""
            if name in base.ours and base.results[0].protocol == protocol:
                difference = round(figure.mean - base.ours[name].mean, 6)
            std = "" if figure.std is None else round(figure.std, 6)
            start = (table.paper, table.number, row.name, _source(report), protocol, name)
            writer.writerow((*start, round(figure.mean, 6), std, figure.n, difference))
    return out.getvalue()


def _source(report: ReportTable) -> str:
    return f"ours ({report.preset or 'recipe'})"


def _grid(layout: Layout, *, published: bool, ours: bool) -> Any:
    from rich.table import Table as Grid
    from rich.text import Text

    heads = [layout.published_head] * published + [layout.ours_head] * ours
    grid = Grid(caption=Text("  |  ".join(heads)), caption_justify="left", caption_style="")
    grid.add_column("row", no_wrap=True)
    for name in layout.published if published else ():
        grid.add_column(Text(f"published\n{name}"), justify="right", no_wrap=True)
    for name in layout.ours if ours else ():
        grid.add_column(Text(f"ours\n{name}"), justify="right", no_wrap=True, style="cyan")
    if ours:
        grid.add_column("runs", no_wrap=True)
    for row in layout.rows:
        if not published and not row.is_ours:
            continue
        cells = [row.name, *(row.published if published else ()), *((*row.ours, row.state) if ours else ())]
        grid.add_row(*map(Text, cells))
    return grid


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)
