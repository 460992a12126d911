"""The published figures that may stand beside ours: of the same model, under the same protocol. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from experiments.config import RunConfig, compose, flatten, to_plain
from experiments.evaluation.protocol import Conditions
from experiments.schema import is_among
from experiments.tables.loader import list_tables, load_tables
from experiments.tables.table import Protocol, Row, Table

_DATA_KEYS = ("view", "resize", "size", "max_size", "crop_size", "box_padding")
_TEST_ONLY = ("flip_test", "scales", "weights", "masks", "chunk_cells")
"""Last names of model keys that make no other model."""
_TRAINING_KEYS = (
    "optimizer",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.limit_train_batches",
    "trainer.ema_decay",
    "data.train_split",
    "data.train_image_ids",
    "data.limit_train",
    "data.train_size",
    "data.augmentation",
)
"""What makes another training of the same model."""


class PublishedRow(NamedTuple):
    label: str
    """Table and row."""
    figures: dict[str, float]
    """In percent, as printed; ``stage1/AP`` and ``segm/AP`` under these names."""
    boxes: str
    """Whose boxes, as the paper says it."""


class Published(NamedTuple):
    rows: list[PublishedRow]
    note: str
    """One line for the user: why there are no rows, or what to know about them."""


def published(config: RunConfig, ours: Conditions) -> Published:
    """What the paper printed for the model of ``config`` tested as ``ours``.

    Raises:
        ConfigError: the tables of the suite cannot be read.
    """
    rows = [(row, figures) for row in table_rows(config.paper) if (figures := _figures(row, ours))]
    if not rows:
        return Published([], f"the paper publishes no figure of this protocol ({describe(ours)})")
    wanted, recipe = _model(flatten(to_plain(config))), _recipe(config.paper)
    models = [_model(recipe | row.settings) for row, _ in rows]
    differing = [[key for key in wanted if wanted[key] != model.get(key)] for model in models]
    same: list[PublishedRow] = []
    for (row, figures), keys in zip(rows, differing, strict=True):
        is_told = any(figures.items() <= told.figures.items() for told in same)
        if not keys and not is_told:
            same.append(PublishedRow(row.label, figures, row.table.protocols[row.row.protocol].boxes))
    if not same:
        keys, (row, _) = min(zip(differing, rows, strict=True), key=lambda pair: len(pair[0]))
        shown = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        return Published(
            [], f"the paper publishes no figure of this model; the nearest, {row.label}, differs in {shown}"
        )
    notes = [f"published with boxes of: {same[0].boxes}"] if ours.boxes == "det" else []
    return Published(same, "; ".join([*notes, *_other_training(config, rows, same[0])]))


def _other_training(config: RunConfig, rows: list[tuple[TableRow, dict[str, float]]], shown: PublishedRow) -> list[str]:
    """In what the configuration is not trained as the row that is shown, in one line; none where it is."""
    row = next(row for row, _ in rows if row.label == shown.label)
    theirs, ours = _recipe(config.paper) | row.settings, flatten(to_plain(config))
    keys = [key for key in ours if is_among(key, _TRAINING_KEYS) and ours[key] != theirs.get(key)]
    if not keys:
        return []
    told = ", ".join(f"{key}={ours[key]}" for key in keys[:3]) + (f" and {len(keys) - 3} more" if keys[3:] else "")
    return [f"not trained as {row.label}: {told}"]


def describe(ours: Conditions) -> str:
    boxes = {"none": "", "gt": ", ground-truth boxes", "det": ", detected boxes"}[ours.boxes]
    return f"{ours.split}, {ours.scales} scale, {'flip' if ours.flip else 'no flip'}{boxes}"


class TableRow(NamedTuple):
    """A row that a run can have, of any table."""

    table: Table
    row: Row

    @property
    def label(self) -> str:
        return f"{self.table.label}, {self.row.name}"

    @property
    def settings(self) -> dict[str, Any]:
        """By dotted key of a run's configuration."""
        return {**self.row.settings, **(self.row.switches or {})}


def table_rows(paper: str) -> list[TableRow]:
    """The rows of all tables of a paper that say what they switch; none where there are no tables.

    Raises:
        ConfigError: the file cannot be read.
    """
    tables = load_tables(paper).values() if paper in list_tables() else ()
    return [TableRow(table, row) for table in tables for row in table.ours]


def _figures(row: TableRow, ours: Conditions) -> dict[str, float]:
    """The row's printed numbers that stand under our protocol, by figure.

    Where the row's own protocol is ours, a column of another one is of another test that ours has no word for: SSA's
    Table 4 prints the same networks' AP with refinement too.
    """
    protocols = row.table.protocols
    is_own = _is_same(protocols[row.row.protocol], ours)
    found: dict[str, float] = {}
    for column in row.table.columns:
        cell = row.row.published.get(column.name)
        name = column.protocol or row.row.protocol
        is_ours = name == row.row.protocol if is_own else _is_same(protocols[name], ours)
        if column.is_scored and isinstance(cell, (int, float)) and is_ours:
            found[column.figure] = float(cell)
    return found


def _is_same(theirs: Protocol, ours: Conditions) -> bool:
    flips = {"true": True, "false": False}.get(theirs.flip)
    return (theirs.split, theirs.kind_of_boxes, flips, theirs.scales) == tuple(ours)


@cache
def _recipe(paper: str) -> dict[str, Any]:
    return flatten(to_plain(compose(paper)))


def _model(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's dotted keys those that make a model."""
    data = {f"data.{key}" for key in _DATA_KEYS}
    return {
        key: value
        for key, value in flat.items()
        if key in data or (key.startswith("model.") and key.rsplit(".", 1)[-1] not in _TEST_ONLY)
    }
