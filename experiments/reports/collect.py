"""Whose row a run is, and what its seeds come to. Runs that cannot be compared never meet in one column."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments import config
from experiments.merging import ConfigError, read_yaml
from experiments.reports.store import Result, Runs, Unfinished
from experiments.tables.overrides import all_switches, recipe_of, row_overrides
from experiments.tables.table import Row, Table

PLACES = ("seed", "data.root", "data.detections.file")
"""May differ among the runs of a row: the seed, and where on a machine the data lie."""


class MixedProtocols(ConfigError):
    """The runs of a table were made or measured in ways that cannot stand in one column; names them."""


class Figure(NamedTuple):
    mean: float
    """In the unit of the table: percent, or millions of parameters."""
    std: float | None
    """Over seeds, of the sample; None of a single one."""
    n: int


class ReportRow(NamedTuple):
    row: Row
    ours: dict[str, Figure]
    """Figure name -> what our runs come to; empty without a finished run."""
    results: tuple[Result, ...]
    """One per seed."""
    unfinished: tuple[Unfinished, ...]
    others: dict[str, Figure]
    """As ``ours``, of the weights that the table does not show."""


class ReportTable(NamedTuple):
    table: Table
    rows: tuple[ReportRow, ...]
    figures: tuple[str, ...]
    """Ours, in the order of the table's columns."""
    preset: str | None
    changes: dict[str, Any]
    """Key -> value in which all runs depart from their rows."""
    weights: str
    """Of each run, ``best`` or ``last``."""

    @property
    def protocols(self) -> list[str]:
        """Ours, the most frequent first."""
        return [name for name, _ in Counter(r.protocol for row in self.rows for r in row.results).most_common()]


def collect(table: Table, runs: Runs, keep: Callable[[Result], bool] = lambda result: True) -> ReportTable:
    """The table with our finished runs.

    A run is a row's if ``experiments.ablate`` ran it for that row, or if it has exactly the settings of the row.

    Args:
        keep: which runs to look at.

    Raises:
        MixedProtocols: runs of different protocols, presets or other settings would meet in one column.
    """
    results = [result for result in runs.results.get(table.paper, ()) if keep(result)]
    begun = runs.unfinished.get(table.paper, [])
    settings = _Settings(table)
    chosen: dict[str, tuple[Result, ...]] = {}
    changes: dict[str, Any] = {}
    for row in table.ours:
        own = [result for result in results if _belongs(result, row, table, settings)]
        for result in own:
            changes |= settings.changes(result, row)
        chosen[row.name] = tuple(own)
    _refuse_mixture(table, chosen, changes)
    names = tuple(dict.fromkeys(c.figure for c in table.columns if c.is_scored or c.figure == "params_M"))
    presets = {result.preset for results in chosen.values() for result in results}
    begun = [run for run in begun if not presets or run.preset in presets]
    rows = []
    for row in table.rows:
        by_seed = {result.seed: result for result in chosen.get(row.name, ())}  # the newest of a seed
        ones = tuple(by_seed[seed] for seed in sorted(by_seed))
        group = f"{table.paper}/{table.slug}/{row.slug}"
        others = tuple(result._replace(figures=result.other_figures) for result in ones)
        unfinished = tuple(run for run in begun if run.group == group)
        rows.append(ReportRow(row, _figures(ones, names), ones, unfinished, _figures(others, names)))
    preset = next((result.preset for row in rows for result in row.results), None)
    return ReportTable(table, tuple(rows), names, preset, changes, runs.weights)


class _Settings:
    """What each row is under each preset, composed once."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.switches = {row.name: all_switches(table, row) for row in table.ours}
        self._composed: dict[tuple[str, str | None], dict[str, Any]] = {}

    def of_row(self, row: Row, preset: str | None) -> dict[str, Any]:
        """Raises ConfigError where the paper has no such preset (any more)."""
        key = (row.name, preset)
        if key not in self._composed:
            self._composed[key] = row_settings(self.table, row, preset)
        return self._composed[key]

    def changes(self, result: Result, row: Row) -> dict[str, Any]:
        """Key -> value of the run, where it departs from its row; keys that only one of the two knows are left out."""
        try:
            own = self.of_row(row, result.preset)
        except ConfigError:
            return {"preset": result.preset}
        there = result.settings
        return {key: there[key] for key in own if key in there and key not in PLACES and there[key] != own[key]}


def row_settings(table: Table, row: Row, preset: str | None) -> dict[str, Any]:
    """What decides the result of a run of the row, by dotted key.

    As composing the row gives it. Where it sets plain values of the kind that the paper's recipe has in their place,
    they are put there without composing all of it again, which takes fifty times as long.

    Raises:
        ConfigError: as ``compose``.
    """
    overrides = row_overrides(table, row, preset)
    settings = dict(recipe_of(table.paper, preset))
    for override in overrides:
        key, _, text = override.partition("=")
        value = read_yaml(text, f"{table.label}: row {row.name}: {key}")
        if key in settings and type(value) is type(settings[key]) and value == settings[key]:
            continue
        if key not in settings or _kind(value) is None or _kind(value) != _kind(settings[key]):
            return config.scientific(config.to_plain(config.compose(table.paper, preset, overrides)))
        settings[key] = value
    return config.scientific(settings)


def _kind(value: Any) -> Any:
    """None where composing may change the value or fill in more."""
    if isinstance(value, list):
        kinds = {_kind(item) for item in value}
        return (list, kinds.pop()) if len(kinds) == 1 and None not in kinds else None
    kind = float if type(value) is int else type(value)
    return kind if kind in (bool, float, str) else None


def _belongs(result: Result, row: Row, table: Table, settings: _Settings) -> bool:
    if result.group == f"{table.paper}/{table.slug}/{row.slug}":
        return True
    if any(result.settings.get(key) != value for key, value in settings.switches[row.name].items()):
        return False  # what composing the row would find as well, at a hundredth of the time
    return not settings.changes(result, row)


def _refuse_mixture(table: Table, chosen: Mapping[str, tuple[Result, ...]], changes: Mapping[str, Any]) -> None:
    """Rows that the paper puts under one protocol have one of ours; all have one preset, one data set, one change."""
    by_protocol: dict[str, set[str]] = {}
    for row in table.ours:
        by_protocol.setdefault(row.protocol, set()).update(result.protocol for result in chosen[row.name])
    every = [result for results in chosen.values() for result in results]
    data = {result.protocol.split("-single-scale")[0].split("-multi-scale")[0] for result in every}
    presets = {result.preset for result in every}
    if len(data) > 1 or len(presets) > 1 or any(len(names) > 1 for names in by_protocol.values()):
        kinds = Counter((result.protocol, result.preset) for result in every)
        shown = "; ".join(
            f"{protocol}, {preset or 'recipe'} ({count} run{'s' if count != 1 else ''})"
            for (protocol, preset), count in sorted(kinds.items(), key=str)
        )
        raise MixedProtocols(
            f"{table.label} of {table.paper} has runs that cannot stand in one column: {shown}; "
            "choose with --protocol NAME or --preset NAME"
        )
    for key in changes:
        values = {str(result.settings.get(key)) for result in every}
        if len(values) > 1:
            raise MixedProtocols(
                f"{table.label} of {table.paper} has runs that cannot stand in one column: {key} is "
                f"{' in some, '.join(sorted(values))} in others; choose with {key}=VALUE"
            )


def _figures(results: tuple[Result, ...], names: tuple[str, ...]) -> dict[str, Figure]:
    found = {}
    for name in names:
        if name == "params_M":
            values = [result.parameters / 1e6 for result in results if result.parameters is not None]
        else:
            values = [100 * value for result in results if (value := result.figures.get(name)) is not None]
        if values:
            std = statistics.stdev(values) if len(values) > 1 else None
            found[name] = Figure(statistics.fmean(values), std, len(values))
    return found
