"""The results store: every ``result.json`` under a folder. Imports no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config import scientific


class Result(NamedTuple):
    """A finished run."""

    directory: Path
    paper: str
    protocol: str
    preset: str | None
    seed: int
    group: str | None
    """``paper/table/row`` where ``experiments.ablate`` ran it."""
    figures: dict[str, float | None]
    """Of the weights that are shown, in [0, 1]; None where there is no such figure."""
    other_figures: dict[str, float | None]
    """Of the other weights: the last where the best are shown, and the best where the last are."""
    parameters: int | None
    """Of the network as it is trained."""
    settings: dict[str, Any]
    """What decides the result, by dotted key."""
    written: float
    """When, in seconds since the epoch."""


class Unfinished(NamedTuple):
    """A run's folder without a result."""

    directory: Path
    preset: str | None
    group: str | None
    state: str


WEIGHTS = ("best", "last")
"""Which weights of a run a table shows: its best evaluation's, or those at the end of training."""


def read_results(root: Path, paper: str, weights: str = "best") -> list[Result]:
    """The finished runs of a paper, anywhere under ``root``, oldest first; files that are no results are left out.

    Args:
        weights: one of ``WEIGHTS``; a result without the last weights' figures has none to show.
    """
    found = []
    for file in root.rglob("result.json"):
        try:
            content = json.loads(file.read_text())
            config = content["config"]
            if content["paper"] != paper:
                continue
            last = dict((content.get("last") or {}).get("figures", {}))
            best = dict(content["figures"])
            result = Result(
                directory=file.parent,
                paper=paper,
                protocol=content["protocol"],
                preset=config.get("preset"),
                seed=config["seed"],
                group=(config.get("wandb") or {}).get("group"),
                figures=best if weights == "best" else last,
                other_figures=last if weights == "best" else best,
                parameters=(content.get("train") or {}).get("parameters"),
                settings=scientific(config),
                written=file.stat().st_mtime,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        found.append(result)
    return sorted(found, key=lambda result: (result.written, str(result.directory)))


def read_unfinished(root: Path, paper: str) -> list[Unfinished]:
    """The runs of a paper that were begun and have no result."""
    found = []
    for file in root.rglob("run.json"):
        if (file.parent / "result.json").exists():
            continue
        try:
            state = str(json.loads(file.read_text())["state"])
            text = (file.parent / "config.yaml").read_text()
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if re.search(rf"^paper: {re.escape(paper)}$", text, re.MULTILINE):
            preset, group = (
                re.search(rf"^{indent}{key}: (\S+)$", text, re.MULTILINE)
                for indent, key in (("", "preset"), ("  ", "group"))
            )
            named = preset[1] if preset and preset[1] != "null" else None
            found.append(Unfinished(file.parent, named, group[1] if group else None, state))
    return sorted(found, key=lambda run: run.directory)
