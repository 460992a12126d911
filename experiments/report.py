"""A paper's tables beside what our runs came to, from the results on this disk.

    python -m experiments.report --list
    python -m experiments.report --paper inspose --table 1
    python -m experiments.report --paper inspose --format html --out inspose.html

Every finished run under --runs counts that experiments.ablate made for a row, or that has exactly a row's settings.
Runs of different protocols, presets or settings are refused in one table: choose with --protocol, --preset, key=value.
Nothing is fetched from anywhere; --wandb also logs the tables, curves and pictures as a run of job type "report".

exit codes: 0 done; 2 refused (a mistake in the command, or runs that cannot be compared); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from experiments.command_line import answer, run_program
from experiments.config import ConfigError, compose, flatten, list_presets, to_plain
from experiments.merging import did_you_mean, read_yaml
from experiments.reports.collect import MixedProtocols, ReportTable, collect
from experiments.reports.store import WEIGHTS, Result, Runs, read_runs
from experiments.tables.loader import find_table, list_tables, load_tables
from experiments.tables.table import Table

FORMATS = ("terminal", "markdown", "latex", "csv", "html")
RUNS = "runs"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_intermixed_args(arguments)
    return answer(lambda _: _list(options) if options.list else _report(options), as_json=False)


def _report(options: argparse.Namespace) -> int:
    if options.paper is None:
        raise ConfigError(f"--paper is missing (papers: {', '.join(list_tables())})")
    if options.json or options.rows:
        raise ConfigError("--json and --rows go with --list; for programs there is --format csv")
    if options.table is not None:
        tables = [find_table(options.paper, options.table)]
    else:
        tables = list(load_tables(options.paper).values())
    keep = _filter(options)
    runs = read_runs(Path(options.runs), options.weights)
    _check_choices(options, runs)
    reports = [collect(table, runs, keep) for table in tables]
    text = render(reports, options.format)
    if options.out is not None:
        Path(options.out).write_text(text)
        print(options.out)
    else:
        print(text, end="" if text.endswith("\n") else "\n")
    if options.wandb:
        from experiments.reports.wandb_run import log_reports

        log_reports(
            reports, directory=Path(options.runs) / options.paper, project=options.project, entity=options.entity
        )
    return 0


def render(reports: list[ReportTable], form: str) -> str:
    """The tables in one of ``FORMATS``."""
    if form == "html":
        from experiments.reports.page import page
        from lightning_modules.papers import PAPERS

        paper = reports[0].table.paper
        return page(PAPERS[paper].title if paper in PAPERS else paper, reports)
    from experiments.reports import formats
    from experiments.reports.layout import lay_out

    if form == "csv":
        texts = [formats.comma_separated(report) for report in reports]
        return texts[0] + "".join(text.split("\n", 1)[1] for text in texts[1:])
    if form == "terminal":
        width = shutil.get_terminal_size((160, 24)).columns
        return "\n\n".join(formats.terminal(lay_out(report), width) for report in reports)
    make = {"markdown": formats.markdown, "latex": formats.latex}[form]
    return "\n".join(make(lay_out(report)) for report in reports)


def _list(options: argparse.Namespace) -> int:
    papers = [options.paper] if options.paper is not None else list_tables()
    keep = _filter(options)
    runs = read_runs(Path(options.runs))
    found = [_listed(table, runs, keep) for paper in papers for table in load_tables(paper).values()]
    if options.json:
        print(json.dumps(found))
        return 0
    from rich.console import Console
    from rich.table import Table as Grid

    for paper in papers:
        grid = Grid(title=paper, title_justify="left")
        for name in ("table", "title", "rows", "ours", "published cells", "finished rows", "under"):
            grid.add_column(name, overflow="fold")
        for entry in (entry for entry in found if entry["paper"] == paper):
            counts = (str(len(entry["rows"])), str(len(entry["ours"])), str(entry["published_cells"]))
            finished = f"{len(entry['finished'])} of {len(entry['ours'])}"
            grid.add_row(entry["table"], entry["title"], *counts, finished, entry["note"])
            for row in entry["rows"] if options.rows else ():
                grid.add_row("", f"  {row}", "", "", "", _state(row, entry), "")
        Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(grid)
    return 0


def _listed(table: Table, runs: Runs, keep: Any) -> dict[str, Any]:
    finished: list[str] = []
    try:
        report = collect(table, runs, keep)
        finished = [item.row.name for item in report.rows if item.results]
        note = ", ".join(report.protocols) + (f" ({report.preset or 'recipe'})" if finished else "")
    except MixedProtocols as error:
        note = str(error).partition(": ")[2]
    return {
        "paper": table.paper,
        "table": table.number,
        "title": table.title,
        "rows": [row.name for row in table.rows],
        "ours": [row.name for row in table.ours],
        "published_cells": sum(len(row.published) for row in table.rows),
        "finished": finished,
        "note": note,
    }


def _state(row: str, entry: dict[str, Any]) -> str:
    if row in entry["finished"]:
        return "finished"
    return "not run" if row in entry["ours"] else "published only"


def _filter(options: argparse.Namespace) -> Any:
    """Which runs are asked for.

    Raises:
        ConfigError: an argument that is no ``key=value``, or a folder of runs that is not there.
    """
    if options.runs != RUNS and not Path(options.runs).is_dir():
        raise ConfigError(f"--runs {options.runs}: no such folder; it is the output.root of the runs")
    wanted = {}
    for text in options.settings:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"command line: {text!r} is not key=value")
        wanted[key.strip()] = value.strip()

    def keep(result: Result) -> bool:
        return (
            (options.protocol is None or result.protocol == options.protocol)
            and (options.preset is None or (result.preset or "recipe") == options.preset)
            and all(_is_value(result.settings.get(key), value) for key, value in wanted.items())
        )

    return keep


def _is_value(there: Any, typed: str) -> bool:
    """Whether a run's value is the one that was typed: ``true``, ``null``, ``1e-3``, or as a message shows it."""
    if str(there) == typed:
        return True
    if isinstance(there, float):
        try:
            return float(typed) == there
        except ValueError:
            return False
    return not isinstance(there, str) and bool(read_yaml(typed, "command line") == there)


def _check_choices(options: argparse.Namespace, runs: Runs) -> None:
    """Raises:
    ConfigError: a preset or key that the paper does not have, or a protocol under which no run was evaluated.
    """
    results = runs.results.get(options.paper, [])
    presets = ["recipe", *list_presets(options.paper), *(result.preset or "recipe" for result in results)]
    if options.preset not in (None, *presets):
        known = ", ".join(dict.fromkeys(presets))
        raise ConfigError(f"--preset {options.preset}: {options.paper} has none such (presets: {known})")
    protocols = sorted({result.protocol for result in results})
    if protocols and options.protocol not in (None, *protocols):
        raise ConfigError(f"--protocol {options.protocol}: no run is of it (there are: {', '.join(protocols)})")
    keys = [*flatten(to_plain(compose(options.paper))), *(key for result in results for key in result.settings)]
    for key in (text.partition("=")[0].strip() for text in options.settings):
        if key not in keys:
            raise ConfigError(f"command line: {key}: no such key{did_you_mean(key, keys)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--paper", help=f"one of {', '.join(list_tables())}")
    parser.add_argument("--table", help="its number; default: all of the paper")
    parser.add_argument("--list", action="store_true", help="every table, its cells, and which rows are finished")
    parser.add_argument("--rows", action="store_true", help="with --list: every row too")
    parser.add_argument("--runs", default=RUNS, metavar="FOLDER", help="the results store (default: runs)")
    parser.add_argument("--format", choices=FORMATS, default="terminal")
    parser.add_argument("--out", metavar="FILE", help="write there instead of showing it")
    parser.add_argument("--weights", choices=WEIGHTS, default="best", help="of each run (default: best)")
    parser.add_argument("--protocol", help="only runs evaluated under this protocol")
    parser.add_argument("--preset", help='only runs of this preset; "recipe" is none')
    parser.add_argument("--wandb", action="store_true", help="log them to W&B too (offline without a login)")
    parser.add_argument("--project", default="pose-papers", help="of W&B")
    parser.add_argument("--entity", help="of W&B: a team; default: your own")
    parser.add_argument("--json", action="store_true", help="with --list: one JSON list")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="only runs with this setting")
    return parser


if __name__ == "__main__":
    run_program(main)
