"""A signal ends training at the next optimizer step, with a checkpoint to resume from."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins.environments import SLURMEnvironment

from callbacks.checkpoints import Checkpoints, is_resumable_here


class Interrupted(Exception):
    """Training was ended by a signal; ``last.ckpt`` holds its state.

    Attributes:
        signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


class Interruption(pl.Callback):
    """Turns SIGINT, SIGTERM and SIGUSR1 into a checkpoint and ``Interrupted``, on all ranks at the same step.

    One rank's signal is enough. A signal during an evaluation waits for its end. A second SIGINT ends at once, with
    the checkpoint before. Under SLURM, Lightning's own handling of SIGTERM and SIGUSR1 (checkpoint and requeue) stays.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.signum: int | None = None
        self._is_stopping = False
        self._process = os.getpid()
        self._handlers: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        ours = [signal.SIGINT] if SLURMEnvironment.detect() else [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
        self._handlers = {number: signal.signal(number, self._receive) for number in ours}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if is_resumable_here(trainer, batch_idx) and self._is_agreed(trainer):
            self.checkpoints.save_last(trainer)
            self._is_stopping = True  # at the next batch: this one's losses are still to be logged

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._is_stopping:
            raise Interrupted(self.signum or signal.SIGINT)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._is_agreed(trainer):
            self.checkpoints.save_last(trainer)
            raise Interrupted(self.signum or signal.SIGINT)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a DataLoader's worker: Ctrl-C reaches it too, and it has work to do
            return
        if self.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signum is None:
            hint = "; once more to stop at once" if signum == signal.SIGINT else ""
            print(f"{signal.Signals(signum).name}: stopping after this step{hint}", file=sys.stderr, flush=True)
            self.signum = signum

    def _is_agreed(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return self.signum is not None
        return trainer.strategy.reduce_boolean_decision(self.signum is not None, all=False)
