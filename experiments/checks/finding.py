"""What a check answers."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class State(Enum):
    ok = "✓"
    wrong = "✗"
    """Something that is needed is missing or does not work."""
    absent = "–"
    """Not there, or not ideal; everything works without it."""


class Finding(NamedTuple):
    name: str
    state: State
    found: str
    """What is there, in one line."""
    fix: str | None = None
    """What to do about it, in one line; None where nothing is to be done."""
