"""What a row of a table sets, as ``key=value`` for ``experiments.run``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from experiments import config
from experiments.tables.table import Row, Table, TableError


def row_overrides(table: Table, row: Row, preset: str | None) -> list[str]:
    """``key=value`` of a row of ours, for ``experiments.run`` with the same preset.

    Raises:
        ConfigError: the row is another system's, or as ``compose``.
    """
    if row.switches is None:
        raise TableError(f"row {row.name!r} of {table.label} is another system's: it is published only")
    of_preset = config.list_preset_keys(table.paper, preset) if preset is not None else set()
    settings = {key: value for key, value in row.settings.items() if key not in of_preset}
    return [f"{key}={as_text(value)}" for key, value in {**settings, **all_switches(table, row)}.items()]


def all_switches(table: Table, row: Row) -> dict[str, Any]:
    """The row's switches, and what it has without a preset where only other rows of the table set one."""
    switches = row.switches or {}
    varied = list(dict.fromkeys(key for other in table.ours for key in other.switches or {}))
    if all(key in switches for key in varied):
        return {key: switches[key] for key in varied}
    recipe = recipe_of(table.paper)
    return {key: switches.get(key, row.settings.get(key, recipe.get(key))) for key in varied}


def as_text(value: Any) -> str:
    """A value as it is typed behind ``key=``."""
    return value if isinstance(value, str) else json.dumps(value)


def recipe_of(paper: str, preset: str | None = None) -> dict[str, Any]:
    """The paper's recipe, or a preset of it, by dotted key; composed once. Do not change what is returned.

    Raises:
        ConfigError: as ``compose``.
    """
    return _recipe(paper, preset, config.CONFIGS)


@cache
def _recipe(paper: str, preset: str | None, folder: Path) -> dict[str, Any]:
    return config.flatten(config.to_plain(config.compose(paper, preset)))
