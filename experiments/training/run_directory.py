"""A run's folder: its name, its lock, and what is there to resume. Imports no torch."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from experiments.config import RunConfig, fingerprint, load_config, scientific, to_plain
from experiments.merging import ConfigError

DIRECTORY_VARIABLE = "POSE_PAPERS_RUN_DIRECTORY"
"""How the first process tells the ranks it starts which folder is theirs."""


class RunDirectoryError(ConfigError):
    """A folder that cannot be used: in use, read-only, finished, or of another configuration."""


class RunDirectory:
    """``<output.root>/<paper>/<name>``, locked by the process that made it until that process ends.

    Attributes:
        path: absolute.
        run_id: eight characters, the same over all resumptions.
    """

    def __init__(self, path: Path, run_id: str, lock: Any = None) -> None:
        self.path = path
        self.run_id = run_id
        self._lock = lock

    @property
    def result_file(self) -> Path:
        return self.path / "result.json"

    def checkpoints_to_resume(self) -> list[Path]:
        """Checkpoints to continue from, newest first: ``last.ckpt``, SLURM's own, the one before."""
        found = [self.path / "last.ckpt", self.path / "previous.ckpt", *self.path.glob("hpc_ckpt_*.ckpt")]
        return sorted((file for file in found if file.is_file()), key=lambda file: -file.stat().st_mtime)

    def note(self, state: str) -> None:
        """Write the run's state (``running``, ``interrupted``, ``failed``, ``finished``) to ``run.json``."""
        _write_state(self.path, self.run_id, state)


def is_first_process() -> bool:
    """Whether this is rank 0, told by the environment alone (torchrun, SLURM, Lightning's own launcher)."""
    environment = os.environ
    if "RANK" in environment:
        return environment["RANK"] == "0"
    if environment.get("SLURM_NTASKS", "1") != "1" and environment.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return environment.get("SLURM_PROCID", "0") == "0"
    return environment.get("LOCAL_RANK", "0") == "0" and environment.get("NODE_RANK", "0") == "0"


def open_run_directory(config: RunConfig, *, resume: bool) -> tuple[RunDirectory, str | None]:
    """Make or reopen the run's folder; call it on rank 0.

    Without a ``name`` the folder is ``<preset or "recipe">-<fingerprint>``. Where that is taken, a new run gets the
    next free ``…-2``, ``…-3``; a resumed one continues the newest of them that is not finished. A ``name`` that was
    given is never changed: if it is taken, the run is refused. A folder in
    which nothing was trained is free.

    Returns:
        The locked folder, and a line for the user where something about it is worth knowing.

    Raises:
        RunDirectoryError: read-only, in use by a live process, taken, finished, or resumed with other settings.
    """
    parent, base, taken = _taken(config)
    if resume:
        unfinished = [path for path in taken if not (path / "result.json").exists()]
        if unfinished:
            directory = _lock(unfinished[-1])
            _refuse_other_settings(directory.path, config)
            return directory, None
        if taken and config.name is not None:
            raise RunDirectoryError(f"{_shown(taken[-1])} is finished; its figures are in result.json")
    elif taken and config.name is not None:
        hint = "is finished" if (taken[-1] / "result.json").exists() else "can be continued with --resume"
        raise RunDirectoryError(f"{_shown(taken[-1])} exists and {hint}; choose another name")
    path = parent / (f"{base}-{len(taken) + 1}" if taken else base)
    line = f"nothing to resume in {_shown(parent / base)}: starting anew" if resume else None
    if taken and not resume and not (taken[-1] / "result.json").exists():
        line = f"{_shown(taken[-1])} is not finished (--resume continues it): starting anew in {path.name}"
    return _lock(path), line


def join_run_directory(config: RunConfig) -> RunDirectory:
    """The folder on the other ranks, unlocked: what the first process told, else what it would resume.

    A folder that the first process is only making cannot be known here; nothing is read from it either, and
    callbacks that write on every rank ask the first.
    """
    if told := os.environ.get(DIRECTORY_VARIABLE):
        return RunDirectory(Path(told), run_id="")
    parent, base, taken = _taken(config)
    unfinished = [path for path in taken if not (path / "result.json").exists()]
    return RunDirectory(unfinished[-1] if unfinished else parent / base, run_id="")


def write_config(directory: RunDirectory, config: RunConfig) -> Path:
    """``config.yaml``: every key, resolved."""
    file = directory.path / "config.yaml"
    file.write_text(yaml.safe_dump(to_plain(config), sort_keys=False))
    return file


def _taken(config: RunConfig) -> tuple[Path, str, list[Path]]:
    """Parent, name, and the runs of that name there are (where none was given, its numbered siblings too)."""
    parent = Path(config.output.root).absolute() / config.paper
    base = config.name or f"{config.preset or 'recipe'}-{fingerprint(config)}"
    taken: list[Path] = []
    path = parent / base
    while _holds_a_run(path):
        taken.append(path)
        if config.name is not None:
            break
        path = parent / f"{base}-{len(taken) + 1}"
    return parent, base, taken


def _holds_a_run(path: Path) -> bool:
    return (path / "result.json").exists() or any(path.glob("*.ckpt"))


def _lock(path: Path) -> RunDirectory:
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "run.lock").open("a+")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = (path / "run.lock").read_text().strip() or "another process"
        raise RunDirectoryError(f"{_shown(path)} is in use by {owner}") from error
    except OSError as error:
        raise RunDirectoryError(f"{_shown(path)} cannot be written ({error.strerror}); set output.root") from error
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    lock.flush()
    run_id = _read_state(path).get("run_id") if _holds_a_run(path) else None
    directory = RunDirectory(path, run_id or secrets.token_hex(4), lock)
    directory.note("running")
    os.environ[DIRECTORY_VARIABLE] = str(path)
    return directory


def _refuse_other_settings(path: Path, config: RunConfig) -> None:
    file = path / "config.yaml"
    if not file.exists():
        return
    refuse_other_settings(path, load_config(file), config)


def refuse_other_settings(path: Path, started: RunConfig, config: RunConfig) -> None:
    """Raises:
    RunDirectoryError: what lies at ``path`` was made with other settings; names the first.
    """
    before, now = scientific(to_plain(started)), scientific(to_plain(config))
    for key in ("paper", *sorted(before.keys() | now.keys())):
        if before.get(key) != now.get(key):
            raise RunDirectoryError(
                f"{_shown(path)} was started with {key}={before.get(key)}, not {now.get(key)}; "
                "resume it as it was, or start another --name"
            )


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads((path / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(path: Path, run_id: str, state: str) -> None:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    before = _read_state(path)
    content = {"run_id": run_id, "state": state, "started": before.get("started", now), "changed": now}
    draft = path / "run.json.part"  # a full disk must not cost the run its id
    draft.write_text(json.dumps({**content, "pid": os.getpid(), "host": socket.gethostname()}) + "\n")
    os.replace(draft, path / "run.json")


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
