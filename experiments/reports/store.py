"""The results store: every ``result.json`` under a folder. Imports no torch."""

from __future__ import annotations

import json
import os
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


class Runs(NamedTuple):
    """Everything under a folder, by paper."""

    results: dict[str, list[Result]]
    """Oldest first."""
    unfinished: dict[str, list[Unfinished]]
    """Runs that were begun and have no result."""
    weights: str
    """Whose metrics the results show, one of ``WEIGHTS``."""


def read_runs(root: Path, weights: str = "best") -> Runs:
    """The runs of every paper, anywhere under ``root``, in one walk; files that are no results are left out.

    Args:
        weights: one of ``WEIGHTS``; a result without the last weights' metrics has none to show.
    """
    runs = Runs({}, {}, weights)
    for folder, _, names in os.walk(root):
        if "result.json" in names:
            result = _result(Path(folder), weights)
            if result is not None:
                runs.results.setdefault(result.paper, []).append(result)
        elif "run.json" in names:
            paper, run = _unfinished(Path(folder))
            if run is not None:
                runs.unfinished.setdefault(paper, []).append(run)
    for results in runs.results.values():
        results.sort(key=lambda result: (result.written, str(result.directory)))
    for begun in runs.unfinished.values():
        begun.sort(key=lambda run: run.directory)
    return runs


def _result(directory: Path, weights: str) -> Result | None:
    file = directory / "result.json"
    try:
        content = json.loads(file.read_text())
        config = content["config"]
        best, last = dict(content["figures"]), dict((content.get("last") or {}).get("figures", {}))
        return Result(
            directory=directory,
            paper=str(content["paper"]),
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
        return None


def _unfinished(directory: Path) -> tuple[str, Unfinished | None]:
    """Its paper, and the run."""
    try:
        state = str(json.loads((directory / "run.json").read_text())["state"])
        text = (directory / "config.yaml").read_text()
    except (OSError, ValueError, KeyError, TypeError):
        return "", None
    paper, preset, group = (
        re.search(rf"^{indent}{key}: (\S+)$", text, re.MULTILINE)
        for indent, key in (("", "paper"), ("", "preset"), ("  ", "group"))
    )
    if paper is None:
        return "", None
    named = preset[1] if preset and preset[1] != "null" else None
    return paper[1], Unfinished(directory, named, group[1] if group else None, state)
