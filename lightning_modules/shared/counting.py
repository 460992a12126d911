"""What ``experiments.complexity`` counts: a paper names its rows, how to build each and what to run once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Countable(NamedTuple):
    """A built row, on any device, ``meta`` included."""

    parameters: int
    forward: Callable[[], object] | None
    """Run once under a counter; None where there is nothing to run."""
    elementwise: int = 0
    """Multiply-accumulates of ``forward`` that no counter sees, where the paper counts them."""


class CountedRow(NamedTuple):
    """One line of a paper's complexity table."""

    row: str
    build: Callable[[], Countable]
    """Called within ``torch.device("meta")``: no memory, no weights."""
    input: str
    """What ``forward`` is given, in words; empty where nothing is run."""
    note: str = ""
