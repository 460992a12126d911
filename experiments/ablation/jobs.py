"""Runs jobs one after another, each in its own process; ends cleanly, and leaves nobody behind."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from experiments.ablation.plan import Job, State, holder, state_of

RUNNER = (sys.executable, "-m", "experiments.run")
TESTER = (sys.executable, "-m", "experiments.ablation.tested_row")
ROOT = Path(__file__).parents[2]
POLL_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1


class Outcome(NamedTuple):
    states: dict[str, State]
    """Name -> how far the job is at the end."""
    signum: int | None
    """The signal that ended it early."""


class Stopped(Exception):
    """A signal was received between two jobs."""


class Jobs:
    """Runs what is not finished. A signal is passed on to the run, which writes its checkpoint, and ends the rest.

    A run that another process holds is left for the end and then waited for: two of these share a table's rows, and
    whichever is left goes on.

    Args:
        jobs: in their order.
        say: prints a line.
    """

    def __init__(self, jobs: list[Job], say: Callable[[str], None]) -> None:
        self.jobs = jobs
        self.say = say
        self._child: subprocess.Popen[bytes] | None = None
        self._signum: int | None = None

    def run(self) -> Outcome:
        """Returns when every job is finished, refused or failed, or after a signal."""
        states: dict[str, State] = {}
        handlers = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            busy = [job for job in self.jobs if not self._attempt(job, states)]
            for job in busy:
                told = False
                while not self._attempt(job, states):
                    if not told:
                        self.say(f"{job.name}: waiting for {holder(job.directory / 'run.lock') or 'another process'}")
                    told = True
                    time.sleep(POLL_SECONDS)
        except Stopped:
            pass
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        for job in self.jobs:
            states.setdefault(job.name, state_of(job))
        return Outcome(states, self._signum)

    def _attempt(self, job: Job, states: dict[str, State]) -> bool:
        """Bring a job to an end; False if another process is at it."""
        if self._signum is not None:
            raise Stopped
        state = state_of(job)
        if state.kind == "finished":
            states[job.name] = state
            return True
        if state.kind == "other":
            states[job.name] = state
            self.say(f"{job.name}: refused, {state.note}")
            return True
        source: Path | None = None
        if job.trained_by is not None and not job.trains:
            trained = states.get(job.trained_by)
            if trained is None:
                return False
            if trained.directory is None:
                states[job.name] = State("failed", f"{job.trained_by} is not trained")
                return True
            source = trained.directory
        with _lock(job.directory / "ablate.lock") as is_ours:
            if not is_ours or holder(job.directory / "run.lock"):
                return False
            states[job.name] = self._start(job, source)
        return True

    def _start(self, job: Job, source: Path | None) -> State:
        """Train the job, or test the run of the folder ``source`` as it says."""
        number = self.jobs.index(job) + 1
        self.say(f"[{number}/{len(self.jobs)}] {job.name}, log in {_shown(job.log_file)}")
        started = time.monotonic()
        with job.log_file.open("ab") as log:
            self._child = subprocess.Popen(
                [*RUNNER, *job.arguments, "--resume"] if source is None else [*TESTER, str(source), *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
            if self._signum is not None:  # it came before there was anyone to pass it on to
                self._child.send_signal(self._signum)
            code = self._child.wait()
        self._child = None
        if self._signum is not None:
            raise Stopped
        state = state_of(job)
        if state.kind == "finished":
            self.say(f"[{number}/{len(self.jobs)}] {job.name}: finished in {short_time(time.monotonic() - started)}")
            return state
        reason = f"killed by {signal.Signals(-code).name}" if code < 0 else _last_line(job.log_file)
        self.say(f"[{number}/{len(self.jobs)}] {job.name}: failed ({reason}), log in {_shown(job.log_file)}")
        return State("failed", reason)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self._signum = signum
        if self._child is not None:
            self.say("stopping: the run in progress writes its checkpoint (once more to end at once)")
            self._child.send_signal(signum)


def _end_with_parent() -> None:
    """On Linux, a run whose parent dies without a word is told to write its checkpoint and end."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _lock(file: Path) -> Iterator[bool]:
    """Whether the lock is ours, for as long as the block lasts.

    Raises:
        OSError: the folder cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _last_line(file: Path) -> str:
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip().removeprefix("error: ") if lines else "without a word"


def _shown(path: Path) -> Any:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def short_time(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 05 min``, ``12 d 4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"
