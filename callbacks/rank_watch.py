"""Says which rank the others wait for, and leaves no process behind when one is gone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from datetime import timedelta
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch.distributed as dist

INTERVAL = 1.0
"""Seconds between two reports of a rank."""
GRACE = 10.0
"""Seconds without an answer of rank 0 after which it is gone."""
COLLECTIVE = re.compile(r"gloo|nccl|processgroup|tcpstore|connection (closed|reset)|timed out waiting", re.IGNORECASE)


class Report(NamedTuple):
    """What a rank last said about itself."""

    beat: int
    """Counts up as long as the process lives."""
    moves: int
    """Counts the batches begun and ended, in training and evaluation: alike on all ranks that are at one point."""
    idle: float
    """Seconds since it last moved."""
    at: str
    who: str
    place: str
    """Where its main thread is."""
    is_waiting: bool
    """Whether that is a collective."""


class RankWatch(pl.Callback):
    """In a run of several processes, each reports where it is to a key-value store that rank 0 holds.

    The reports travel beside the collectives, from a thread: they still arrive when a collective hangs. A rank that
    has not moved for ``patience`` seconds prints once whom it waits for; ``diagnose`` says so when a collective has
    failed. A process whose rank 0 is gone ends itself: a hung one would otherwise live on.

    Args:
        patience: seconds; half the collectives' time-out leaves time to be read.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._store: dist.Store | None = None
        self._ranks = self._rank = self._moves = self._beat = 0
        self._moved_at = time.monotonic()
        self._at = "the start"
        self._is_closed = threading.Event()
        self._children: list[Any] = []
        self._thread = threading.main_thread().ident

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.world_size == 1 or self._store is not None:
            return
        self._rank, self._ranks = trainer.global_rank, trainer.world_size
        host = os.environ.get("MASTER_ADDR", "127.0.0.1")
        wait = timedelta(seconds=GRACE)
        own = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=wait) if self._rank == 0 else None
        port = trainer.strategy.broadcast(own.port if own is not None else 0)
        self._store = own or dist.TCPStore(host, port, is_master=False, timeout=wait)
        self._children = getattr(trainer.strategy.launcher, "procs", [])
        self._delay_the_end()
        self._report()
        threading.Thread(target=self._watch, name="rank-watch", daemon=True).start()

    def close(self) -> None:
        """Report and watch no more: this process has left the last collective."""
        self._is_closed.set()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._move(f"step {trainer.global_step + 1}")

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._move(f"step {trainer.global_step + 1}")

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._move(f"batch {batch_idx + 1} of the evaluation")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._move("the end of the evaluation")

    def explain(self, error: BaseException) -> str | None:
        """One line on the rank that made a collective fail; None for any other error, and in a run of one process."""
        if joined := re.search(r"(\d+)/(\d+) clients joined", str(error)):
            came, expected = joined.groups()
            return f"only {came} of {expected} ranks came within trainer.ddp_timeout; see what the others printed"
        if self._store is None or not isinstance(error, RuntimeError) or not COLLECTIVE.search(str(error)):
            return None
        first = " ".join(str(error).split(". ")[0].split())
        return f"{self.diagnose(was_waiting=True)}; the collective of rank {self._rank} said: {first[:200]}"

    def diagnose(self, *, was_waiting: bool = False) -> str:
        """Who has ended, who is behind, who does not take part in the collective that the others are in.

        Takes three intervals, in which a live rank's reports change, unless the rank was started by this process.

        Args:
            was_waiting: this rank was in the collective until now.
        """
        before = self._reports() or {}
        if dead := self._dead_children(before):
            return dead
        for _ in range(3):  # another rank may be asking the same of this one
            time.sleep(INTERVAL)
            with contextlib.suppress(RuntimeError):
                self._report()
        now = self._reports()
        if now is None:
            return "rank 0 has ended"
        if was_waiting and self._rank in now:
            now[self._rank] = now[self._rank]._replace(is_waiting=True)
        others = {rank: report for rank, report in now.items() if rank != self._rank}
        silent = [rank for rank in range(self._ranks) if rank not in now]
        ended = [rank for rank in others if rank in before and before[rank].beat == now[rank].beat]
        if silent or ended:
            lines = [f"rank {rank} ({now[rank].who}) has ended, last seen at {now[rank].at}" for rank in ended]
            return ", ".join(lines + [f"rank {rank} has never reported" for rank in silent])
        most = max(now.values(), key=lambda report: report.moves)
        behind = {rank: report for rank, report in now.items() if report.moves < most.moves}
        if not behind:
            behind = {rank: report for rank, report in now.items() if not report.is_waiting}
        if not behind or len(behind) == len(now):
            return f"all ranks are at {most.at}: the network between them may be at fault"
        lines = [
            f"rank {rank} ({report.who}) has been at {report.at} for {report.idle:.0f} s, in {report.place}"
            for rank, report in behind.items()
        ]
        return f"{', '.join(lines)}; the others, at {most.at}, wait for it"

    def _dead_children(self, reports: dict[int, Report]) -> str | None:
        """The ranks that this process started and that have failed, with how."""
        time.sleep(0.3)  # a process is gone a little before its parent can know
        dead = []
        for rank, process in enumerate(self._children, self._rank + 1):
            if code := process.poll():
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                at = f", last seen at {reports[rank].at}" if rank in reports else ""
                dead.append(f"rank {rank} (process {process.pid}) has ended with {how}{at}")
        return ", ".join(dead) or None

    def _delay_the_end(self) -> None:
        """Time to speak where a rank that this process started has ended.

        Lightning looks at such ranks every five seconds, and kills this process where one has failed: now and then
        before the failed collective is told. It now waits for ``GRACE``, and where nothing was told by then, as beside
        a collective that does not fail, the rank is named first.
        """
        observer: Any = next((each for each in threading.enumerate() if each.name == "child-process-observer"), None)
        end = getattr(observer, "_terminate_all", None)
        if end is None:
            return

        def name_and_end() -> None:
            time.sleep(GRACE)
            _say(f"error: {self._dead_children(self._reports() or {})}")
            end()

        observer._terminate_all = name_and_end

    def _move(self, at: str) -> None:
        self._moves += 1
        self._at, self._moved_at = at, time.monotonic()

    def _report(self) -> None:
        assert self._store is not None
        self._beat += 1
        who = f"process {os.getpid()} on {socket.gethostname()}"
        idle = time.monotonic() - self._moved_at
        report = Report(self._beat, self._moves, idle, self._at, who, *_place_of(self._thread))
        self._store.set(f"rank{self._rank}", json.dumps(report))

    def _reports(self) -> dict[int, Report] | None:
        """Of the ranks that have reported; None where rank 0's store does not answer."""
        assert self._store is not None
        try:
            found = [rank for rank in range(self._ranks) if self._store.check([f"rank{rank}"])]
            return {rank: Report(*json.loads(self._store.get(f"rank{rank}"))) for rank in found}
        except RuntimeError:
            return None

    def _watch(self) -> None:
        answered_at = time.monotonic()
        is_told = False
        while not self._is_closed.wait(INTERVAL):
            try:
                self._report()
                answered_at = time.monotonic()
            except RuntimeError:
                if time.monotonic() - answered_at > GRACE:
                    _say(f"rank {self._rank}: rank 0 has ended; ending at {self._at}")
                    os._exit(1)
                continue
            idle = time.monotonic() - self._moved_at
            if idle < self.patience:
                is_told = False
            elif not is_told:
                is_told = True
                _say(f"rank {self._rank} has waited {idle:.0f} s at {self._at}: {self.diagnose()}")


def _place_of(thread: int | None) -> tuple[str, bool]:
    """``"module.py:57 (forward)"``: its innermost line of our own code; and whether it is in a collective."""
    frame = sys._current_frames().get(thread or 0)
    place, innermost, is_waiting = "", "", False
    while frame is not None:
        file, function = frame.f_code.co_filename, frame.f_code.co_name
        innermost = innermost or function
        is_waiting |= f"torch{os.sep}distributed" in file or function == "_engine_run_backward"
        if not place and "site-packages" not in file and not file.startswith((sys.prefix, sys.base_prefix, "<")):
            place = f"{os.path.basename(file)}:{frame.f_lineno}"
        frame = frame.f_back
    return f"{place} ({innermost})", is_waiting


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
