"""A paper that is only a configuration, for what reads YAML and overrides."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import List, Optional

import pytest

from experiments import config as config_module
from lightning_modules.papers import Paper


class Fuse(Enum):
    sum = "sum"
    concat = "concat"


@dataclass
class ToyConfig:
    width: int = 8
    fuse: Fuse = Fuse.sum
    depths: List[int] = field(default_factory=lambda: [1, 2])
    note: Optional[str] = None


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make ``toy`` the only paper, its recipe in ``folder``; returns that file, which is not there yet."""
    monkeypatch.setattr(config_module, "CONFIGS", folder)
    monkeypatch.setattr(config_module, "PAPERS", {"toy": Paper("A toy", "toy:Config", "toy:Module")})
    monkeypatch.setattr(config_module, "load", lambda reference: ToyConfig)
    return folder / "toy.yaml"
