"""Reads ``<paper>.yaml``: every table of a paper, what its rows switch, and what the paper printed. Imports no torch.

    paper: inspose
    protocols:                      # what a published cell stands under
      minival: {split: val2017, boxes: none, flip: false, scales: single, schedule: 36 epochs}
    settings:                       # optional: settings by name, for `recipe`
      hrnet: {trainer.max_epochs: 210}
    tables:
      "1":
        title: Disk offset and auxiliary heatmap
        protocol: minival           # of the rows that name no other
        baseline: neither           # the row the others are compared with
        columns: [AP, AP50, AP@val] # COCO's figures; after @ the protocol of a column that has its own
        curves: {figure: "5", metrics: [train/heatmap]}   # optional: a figure that shows the rows' convergence
        recipe: [hrnet]             # optional, also of a row: names out of `settings`
        set: {data.size: 640}       # optional: what all rows of ours stand on, by the full key of --print-config
        rows:
          - row: neither
            set: {model.disk_offset: false, model.heatmap: false}   # the switches; none is another system's row
            published: {AP: 60.3}   # numbers as printed, or a bound as "> 0.65"

A run of a row is: the recipe <- the table's ``recipe`` and ``set`` <- the row's ``recipe`` <- ``--preset`` <- the row's
``set`` <- the command line. A switch that some row of a table sets is set in all of them (where a row is silent, to
what it is without a preset), so that rows differ under every preset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.merging import did_you_mean, read_yaml_file
from experiments.tables.table import COUNTED, MEASURED, Column, Curves, Protocol, Row, Table, TableError, slug

TABLES = Path(__file__).parent
_FIGURE = re.compile(r"((stage1|segm|box)/)?A[PR](1|10|20|50|75|S|M|L)?")
_BOUND = re.compile(r"[<>] \d+(\.\d+)?")
_PROTOCOL_KEYS = ("split", "boxes", "flip", "scales", "schedule")


def list_tables(folder: Path | None = None) -> list[str]:
    """The papers that have tables."""
    return sorted(file.stem for file in (folder or TABLES).glob("*.yaml"))


def find_table(paper: str, number: str) -> Table:
    """One table; ``1``, ``table 1`` and ``Table 1`` are the same.

    Raises:
        TableError: no such paper or table, or as ``load_tables``.
    """
    tables = load_tables(paper)
    wanted = number.strip().lower().removeprefix("table").strip()
    for name, table in tables.items():
        if wanted in (name.lower(), slug(name)):
            return table
    raise TableError(f"{paper} has no table {number!r} (tables: {', '.join(tables)})")


def load_tables(paper: str, folder: Path | None = None) -> dict[str, Table]:
    """Number -> table, in the paper's order.

    Raises:
        TableError: no such file, or it is not of the form this module's text shows; names file, table and row.
    """
    file = (folder or TABLES) / f"{paper}.yaml"
    if not file.is_file():
        known = list_tables(folder)
        raise TableError(f"no tables of paper {paper!r}{did_you_mean(paper, known)} (papers: {', '.join(known)})")
    content = read_yaml_file(file)
    _check(content, str(file), {"paper": str, "protocols": dict, "tables": dict}, {"settings": dict})
    if content["paper"] != paper:
        raise TableError(f"{file}: paper is {content['paper']!r}, not the file's {paper!r}")
    protocols = {name: _protocol(name, values, str(file)) for name, values in content["protocols"].items()}
    settings = content.get("settings", {})
    return {
        number: _table(paper, number, values, protocols, settings, f"{file}: table {number}")
        for number, values in content["tables"].items()
    }


def _table(
    paper: str,
    number: str,
    values: Any,
    protocols: Mapping[str, Protocol],
    named: Mapping[str, Mapping[str, Any]],
    where: str,
) -> Table:
    needed = {"title": str, "protocol": str, "baseline": str, "columns": list, "rows": list}
    _check(values, where, needed, {"curves": dict, "recipe": list, "set": dict})
    columns = tuple(_column(name, protocols, where) for name in values["columns"])
    common = {**_named(values, named, where), **values.get("set", {})}
    rows = tuple(_row(row, values["protocol"], common, named, columns, protocols, where) for row in values["rows"])
    for what in ("name", "slug"):
        seen = [getattr(row, what) for row in rows]
        if twice := sorted({name for name in seen if seen.count(name) > 1}):
            raise TableError(f"{where}: rows share the {what} {', '.join(twice)}")
    if values["baseline"] not in [row.name for row in rows]:
        raise TableError(f"{where}: baseline {values['baseline']!r} is no row of it")
    curves = None
    if "curves" in values:
        _check(values["curves"], f"{where}: curves", {"figure": str, "metrics": list}, {})
        curves = Curves(values["curves"]["figure"], tuple(values["curves"]["metrics"]))
    return Table(
        paper, number, values["title"], values["protocol"], values["baseline"], columns, rows, dict(protocols), curves
    )


def _row(
    values: Any,
    protocol: str,
    common: Mapping[str, Any],
    named: Mapping[str, Mapping[str, Any]],
    columns: tuple[Column, ...],
    protocols: Mapping[str, Protocol],
    where: str,
) -> Row:
    name = values.get("row") if isinstance(values, dict) else None
    where = f"{where}: row {name!r}"
    _check(values, where, {"row": str}, {"protocol": str, "recipe": list, "set": dict, "published": dict})
    protocol = values.get("protocol", protocol)
    if protocol not in protocols:
        raise TableError(f"{where}: no protocol {protocol!r}{did_you_mean(protocol, list(protocols))}")
    published = values.get("published", {})
    for column, cell in published.items():
        if column not in [known.name for known in columns]:
            raise TableError(f"{where}: {column!r} is no column of the table")
        if not (type(cell) in (int, float) or (isinstance(cell, str) and _BOUND.fullmatch(cell))):
            raise TableError(f"{where}: {column} is {cell!r}, neither a number nor a bound such as '> 0.65'")
    is_ours = "set" in values or "recipe" in values
    if not is_ours and not published:
        raise TableError(f"{where}: has neither switches nor published cells")
    settings = {**common, **_named(values, named, where)} if is_ours else {}
    switches = dict(values.get("set", {}))
    for key in (*switches, *settings):
        if "." not in key:
            raise TableError(f"{where}: {key!r} is no full key, as model.{key}")
    return Row(values["row"], protocol, switches if is_ours else None, settings, dict(published))


def _named(values: Mapping[str, Any], named: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in values.get("recipe", []):
        if name not in named:
            raise TableError(f"{where}: no settings {name!r}{did_you_mean(str(name), list(named))}")
        found.update(named[name])
    return found


def _column(name: Any, protocols: Mapping[str, Protocol], where: str) -> Column:
    figure, at, protocol = str(name).partition("@")
    if not (_FIGURE.fullmatch(figure) or figure in (*COUNTED, *MEASURED)):
        raise TableError(f"{where}: {name!r} is no figure: AP, AR50, segm/APM, {', '.join((*COUNTED, *MEASURED))}")
    if at and protocol not in protocols:
        raise TableError(f"{where}: column {name!r} names no protocol{did_you_mean(protocol, list(protocols))}")
    return Column(str(name), figure, protocol if at else None)


def _protocol(name: str, values: Any, where: str) -> Protocol:
    _check(values, f"{where}: protocol {name}", dict.fromkeys(_PROTOCOL_KEYS, (str, bool)), {})
    texts = {key: str(value).lower() if isinstance(value, bool) else value for key, value in values.items()}
    return Protocol(name, **texts)


def _check(values: Any, where: str, needed: Mapping[str, Any], optional: Mapping[str, Any]) -> None:
    if not isinstance(values, dict):
        raise TableError(f"{where}: expected {', '.join(needed)}")
    for key in values:
        if key not in needed and key not in optional:
            raise TableError(f"{where}: no key {key!r}{did_you_mean(str(key), [*needed, *optional])}")
    for key, kind in {**needed, **optional}.items():
        if key not in values and key in needed:
            raise TableError(f"{where}: {key} is missing")
        if key in values and not isinstance(values[key], kind):
            raise TableError(f"{where}: {key} is {values[key]!r}")
