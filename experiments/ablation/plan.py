"""The runs a table asks for, and how far each of them is. Imports no torch."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config import compose, flatten, load_config, scientific, to_plain
from experiments.merging import ConfigError
from experiments.schema import TEST_KEYS, is_among
from experiments.tables.overrides import all_switches, as_text, row_overrides
from experiments.tables.table import Row, Table, TableError


class Job(NamedTuple):
    """One run: a row under a seed."""

    row: Row
    seed: int
    name: str
    """``<table>-<row>-seed<k>``, behind the preset's name where there is one."""
    arguments: tuple[str, ...]
    """Of ``experiments.run``."""
    directory: Path
    settings: dict[str, Any]
    """What decides its result, by dotted key."""
    trained_by: str | None = None
    """Name of the job whose checkpoint it tests; None trains its own."""

    @property
    def log_file(self) -> Path:
        return self.directory / "log.txt"

    @property
    def trains(self) -> bool:
        """Whether it is trained: it tests no other's checkpoint, or was begun before it could."""
        return self.trained_by is None or any(self.directory.glob("*.ckpt"))


class State(NamedTuple):
    kind: str
    """``finished``, ``running``, ``interrupted``, ``failed``, ``new``; ``other``: taken by a run of other settings."""
    note: str = ""
    directory: Path | None = None
    """Where the figures lie, of a finished one."""


def choose_rows(table: Table, names: list[str] | None) -> list[Row]:
    """The rows to run; without names all that are ours.

    Raises:
        TableError: a row that does not exist or is another system's, or a table that needs no training.
    """
    if not table.is_trained:
        raise TableError(
            f"{table.label} of {table.paper} counts and needs no training: "
            f"python -m experiments.complexity --paper {table.paper}"
        )
    if names is None:
        return list(table.ours)
    rows = [table.find(name) for name in names]
    for row in rows:
        if row.switches is None:
            raise TableError(f"row {row.name!r} of {table.label} is another system's: it is published only")
    return rows


def make_jobs(table: Table, rows: list[Row], seeds: list[int], preset: str | None, overrides: list[str]) -> list[Job]:
    """All rows under the first seed, then all under the next: a first whole table comes early.

    Of rows that differ in ``TEST_KEYS`` only, one is trained and comes first: the one that is tested most as the recipe
    is. The others test its checkpoint.

    Raises:
        ConfigError: as ``compose``, or an override of what this command sets itself.
    """
    for text in overrides:
        if (key := text.partition("=")[0].strip()) in ("seed", "name", "wandb.group", "wandb.name"):
            raise ConfigError(f"command line: {key} is set for each run; use --seeds, or output.root for another store")
    of_rows = [_of_row(table, row, preset, overrides) for row in rows]
    trained_by = _trained_by([settings for settings, _, _ in of_rows], table.paper)
    jobs = []
    for seed in seeds:
        for index in sorted(range(len(rows)), key=lambda index: trained_by[index] is not None):
            row, (settings, arguments, parent), source = rows[index], of_rows[index], trained_by[index]
            name = run_name(table, row, seed, preset)
            wandb = (f"wandb.group={table.paper}/{table.slug}/{row.slug}", f"wandb.name={row.slug}-seed{seed}")
            arguments_of_job = ("--name", name, *arguments, f"seed={seed}", *wandb)
            trained = None if source is None else run_name(table, rows[source], seed, preset)
            jobs.append(Job(row, seed, name, arguments_of_job, parent / name, {**settings, "seed": seed}, trained))
    return jobs


def _trained_by(of_rows: list[dict[str, Any]], paper: str) -> list[int | None]:
    """For each row's settings the number of the row whose checkpoint it tests, None where it is trained itself."""
    recipe = flatten(to_plain(compose(paper)))
    groups: dict[str, list[int]] = {}
    for index, settings in enumerate(of_rows):
        training = {key: value for key, value in settings.items() if not is_among(key, TEST_KEYS)}
        groups.setdefault(json.dumps(training, sort_keys=True, default=str), []).append(index)

    def departures(index: int) -> int:
        settings = of_rows[index]
        return sum(settings[key] != recipe.get(key) for key in settings if is_among(key, TEST_KEYS))

    found: list[int | None] = [None] * len(of_rows)
    for group in groups.values():
        trained = min(group, key=departures)
        for index in group:
            found[index] = None if index == trained else trained
    return found


def run_name(table: Table, row: Row, seed: int, preset: str | None) -> str:
    return "-".join([*([preset] if preset else []), table.slug, row.slug, f"seed{seed}"])


def state_of(job: Job) -> State:
    """How far a run is, from its folder; a finished run of the same settings elsewhere in the store counts as it."""
    if (job.directory / "result.json").exists():
        difference = _difference(job)
        return State("other", difference) if difference else State("finished", "", job.directory)
    if (twin := _twin(job)) is not None:
        return State("finished", f"as {twin.name}", twin)
    if owner := holder(job.directory / "run.lock"):
        return State("running", owner)
    if any(job.directory.glob("*.ckpt")):
        if difference := _difference(job):
            return State("other", difference)
        return State("failed" if _noted(job.directory) == "failed" else "interrupted", "from its last checkpoint")
    if _noted(job.directory) == "failed":
        return State("failed", "before its first checkpoint")
    return State("new")


def holder(lock: Path) -> str | None:
    """Who holds a lock file, None if nobody does."""
    try:
        with lock.open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return lock.read_text().strip() or "another process"
    except OSError:
        return None
    return None


def varied(table: Table, rows: list[Row]) -> dict[str, list[str]]:
    """Key -> its value in each row, of the switches in which the rows differ."""
    switches = [all_switches(table, row) for row in rows]
    values = {key: [as_text(of_row[key]) for of_row in switches] for key in switches[0]}
    return {key: texts for key, texts in values.items() if len(set(texts)) > 1 or len(rows) == 1}


def _of_row(
    table: Table, row: Row, preset: str | None, overrides: list[str]
) -> tuple[dict[str, Any], tuple[str, ...], Path]:
    own = row_overrides(table, row, preset)
    config = compose(table.paper, preset, [*own, *overrides])
    arguments = ("--paper", table.paper, *(("--preset", preset) if preset else ()), *own, *overrides)
    return scientific(to_plain(config)), arguments, Path(config.output.root).absolute() / table.paper


def _difference(job: Job) -> str:
    """The first key in which the run in the job's folder is another one."""
    try:
        there = scientific(to_plain(load_config(job.directory / "config.yaml")))
    except ConfigError as error:
        return str(error)
    for key in sorted(there.keys() | job.settings.keys()):
        if there.get(key) != job.settings.get(key):
            return (
                f"{job.directory} has {key}={there.get(key)}, not {job.settings.get(key)}; choose another output.root"
            )
    return ""


def _twin(job: Job) -> Path | None:
    for file in sorted(job.directory.parent.glob("*/result.json")):
        try:
            config = json.loads(file.read_text())["config"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if scientific(config) == job.settings:
            return file.parent
    return None


def _noted(directory: Path) -> str:
    try:
        return str(json.loads((directory / "run.json").read_text())["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
