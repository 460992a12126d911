"""A report as one HTML page that needs nothing beside itself: tables, curves, pictures."""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path

from experiments.reports.charts import COLORS, chart, curves, metrics_of
from experiments.reports.collect import ReportTable
from experiments.reports.layout import Layout, lay_out

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --warn: #d55e00; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.2rem; margin-top: 3rem; border-top: 2px solid var(--line); padding-top: 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td small { display: block; opacity: .7; }
th:first-child, td:first-child { position: sticky; left: 0; background: Canvas; }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; white-space: nowrap; }
tr { border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .state { text-align: left; }
thead tr:first-child th { text-align: center; }
.ours { background: var(--soft); } .first { border-left: 2px solid var(--line); }
.warning { border-left: 4px solid var(--warn); padding: .4rem .8rem; font-weight: 600; margin: .4rem 0; }
.notes { font-size: .85rem; opacity: .8; padding-left: 1.2rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
svg { width: 100%; height: auto; } polyline { fill: none; stroke-width: 2; }
.grid { stroke: var(--line); } .tick { font-size: 10px; fill: currentColor; opacity: .7; }
.title { font-size: 13px; font-weight: 600; fill: currentColor; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; list-style: none; padding: 0; }
.legend i { display: inline-block; width: 1.2em; height: .35em; margin-right: .4em; vertical-align: middle; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 48rem; }
figure img { width: 100%; height: auto; border-radius: 4px; } figcaption { font-size: .85rem; }
nav a { margin-right: 1rem; }
"""


def page(title: str, reports: list[ReportTable]) -> str:
    """The whole page, with a section per table."""
    links = "".join(f'<a href="#{report.table.slug}">{escape(report.table.label)}</a>' for report in reports)
    sections = "".join(_section(report) for report in reports)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{f'<nav>{links}</nav>' if len(reports) > 1 else ''}{sections}</body></html>\n"
    )


def _section(report: ReportTable) -> str:
    layout = lay_out(report)
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in layout.warnings)
    notes = "".join(f"<li>{escape(text)}</li>" for text in layout.notes)
    return (
        f'<section id="{report.table.slug}"><h2>{escape(layout.title)}</h2>{warnings}'
        f'<div class="scroll">{_table(layout)}</div><ul class="notes">{notes}</ul>'
        f"{_charts(report)}{_pictures(report)}</section>"
    )


def _table(layout: Layout) -> str:
    published = "".join(
        f"<th{' class=first' if index == 0 else ''}>{escape(name)}</th>" for index, name in enumerate(layout.published)
    )
    ours = "".join(
        f'<th class="ours{" first" if index == 0 else ""}">{escape(name)}</th>'
        for index, name in enumerate(layout.ours)
    )
    rows = []
    for row in layout.rows:
        cells = [f"<td>{escape(row.name)}</td>"]
        for index, text in enumerate(row.published):
            cells.append(f"<td{' class=first' if index == 0 else ''}>{_cell(text)}</td>")
        for index, text in enumerate(row.ours):
            cells.append(f'<td class="ours{" first" if index == 0 else ""}">{_cell(text)}</td>')
        rows.append(f'<tr>{"".join(cells)}<td class="state">{escape(row.state)}</td></tr>')
    return (
        f'<table><thead><tr><th></th><th class="first" colspan="{len(layout.published)}">'
        f'{escape(layout.published_head)}</th><th class="ours first" colspan="{len(layout.ours)}">'
        f"{escape(layout.ours_head)}</th><th></th></tr><tr><th>row</th>{published}{ours}"
        '<th class="state">runs</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _cell(text: str) -> str:
    """The difference stands below its figure, so that a wide table stays readable."""
    return re.sub(r" \(([+-].*?)\)", r" <small>\1</small>", escape(text))


def _charts(report: ReportTable) -> str:
    drawn = [(metric, found) for metric in metrics_of(report) if (found := curves(report, metric))]
    if not drawn:
        return ""
    rows = {curve.number: curve.label for _, found in drawn for curve in found}
    legend = "".join(
        f'<li><i style="background:{COLORS[index % len(COLORS)]}"></i>{escape(label)}</li>'
        for index, label in sorted(rows.items())
    )
    figure = report.table.curves.figure if report.table.curves else None
    head = f"Curves (the paper's Figure {escape(figure)})" if figure else "Curves"
    charts = "".join(f"<div>{chart(metric, found)}</div>" for metric, found in drawn)
    return f'<h3>{head}</h3><ul class="legend">{legend}</ul><div class="charts">{charts}</div>'


def _pictures(report: ReportTable) -> str:
    figures = []
    for item in report.rows:
        for result in item.results[:1]:
            file = result.directory / "pictures" / "best.jpg"
            if file.is_file():
                caption = f"{item.row.name}, seed {result.seed}"
                figures.append(
                    f'<figure><img loading="lazy" alt="{escape(caption)}" src="{_data(file)}">'
                    f"<figcaption>{escape(caption)}</figcaption></figure>"
                )
    return (
        f'<h3>Pictures: truth beside prediction</h3><div class="pictures">{"".join(figures)}</div>' if figures else ""
    )


def _data(file: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"
