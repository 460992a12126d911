"""A paper's table: columns, rows, and the protocols its published cells stand under."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from experiments.merging import ConfigError, did_you_mean

COUNTED = ("params_M", "macs_G")
"""Columns that are counted, not trained for: ``experiments.complexity``."""
MEASURED = ("seconds", "images_per_second")
"""Columns that depend on the machine."""


class TableError(ConfigError):
    """A table file that is not as it should be, or a table or row that does not exist; one line."""


class Protocol(NamedTuple):
    name: str
    split: str
    boxes: str
    flip: str
    scales: str
    schedule: str

    @property
    def kind_of_boxes(self) -> str:
        """``none``, ``gt`` or ``det``, as ``experiments.evaluation.protocol`` has it."""
        return "none" if self.boxes == "none" else "gt" if "ground" in self.boxes else "det"

    @property
    def name_of_ours(self) -> str:
        """What our evaluation under the same conditions is called: ``val2017-single-scale-flip-det-boxes``."""
        boxes = [] if self.kind_of_boxes == "none" else [f"{self.kind_of_boxes}-boxes"]
        return "-".join([self.split, f"{self.scales}-scale", *(["flip"] if self.flip == "true" else []), *boxes])

    @property
    def text(self) -> str:
        return f"{self.split}, boxes {self.boxes}, flip {self.flip}, scales {self.scales}, schedule {self.schedule}"


class Column(NamedTuple):
    name: str
    """As in the file."""
    figure: str
    """What it is of: ``AP``, ``segm/AP50``, ``params_M``."""
    protocol: str | None
    """Name of its own protocol; None where each row's holds."""

    @property
    def is_scored(self) -> bool:
        """Whether an evaluation gives it."""
        return self.figure not in (*COUNTED, *MEASURED)


class Row(NamedTuple):
    name: str
    protocol: str
    switches: dict[str, Any] | None
    """By full key; None is another system's row, published only."""
    settings: dict[str, Any]
    """What it stands on besides, which a preset may override."""
    published: dict[str, float | str]
    """Column name -> number, or a bound such as ``> 0.65``."""

    @property
    def slug(self) -> str:
        return slug(self.name)


class Curves(NamedTuple):
    figure: str
    metrics: tuple[str, ...]


class Table(NamedTuple):
    paper: str
    number: str
    title: str
    protocol: str
    baseline: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    protocols: dict[str, Protocol]
    curves: Curves | None

    @property
    def label(self) -> str:
        """``Table 1``, ``Figure 5a``."""
        return self.number.capitalize() if self.number[0].isalpha() else f"Table {self.number}"

    @property
    def slug(self) -> str:
        return slug(self.number) if self.number[0].isalpha() else f"table{slug(self.number)}"

    @property
    def ours(self) -> tuple[Row, ...]:
        """The rows that can be run."""
        return tuple(row for row in self.rows if row.switches is not None)

    @property
    def is_trained(self) -> bool:
        """Whether any column needs a run."""
        return any(column.is_scored for column in self.columns)

    def find(self, name: str) -> Row:
        """The row of that name, or of that slug.

        Raises:
            TableError: there is none.
        """
        for row in self.rows:
            if name in (row.name, row.slug):
                return row
        names = [row.name for row in self.rows]
        hint = did_you_mean(name, names) or f" (ours: {'; '.join(row.name for row in self.ours)})"
        raise TableError(f"{self.label} of {self.paper} has no row {name!r}{hint}")


def slug(text: str) -> str:
    """Lower-case letters, digits, points and single hyphens: fit for a folder's name."""
    words = text.lower().replace("+", " plus ").replace("γ", "gamma").replace("α", "alpha").replace("=", " ")
    return re.sub(r"[^a-z0-9.]+", "-", words).strip("-.")
