"""A signal ends training at the next optimizer step, with a checkpoint to resume from."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor

from callbacks.checkpoints import Checkpoints, is_resumable_here
from callbacks.nan_guard import start_copy

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(BaseException):
    """A run was ended by a signal; ``last.ckpt`` holds what it had trained.

    No ``Exception``: what handles errors must not take it for one.

    Attributes:
        signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


class Interruption(pl.Callback):
    """Turns SIGINT, SIGTERM and SIGUSR1 into a checkpoint and ``Interrupted``, on all ranks at the same step.

    One rank's signal is enough. Each step asks all ranks and the next one reads the answer, so that no rank waits for
    its device: several processes stop a step later than one. A signal during an evaluation within training waits for
    its end; during the evaluation after training it ends that at once, for ``last.ckpt`` holds everything. A second
    SIGINT ends at once, with the checkpoint before. Signals are received from the moment the data are read, before any
    DataLoader starts workers. One that comes before the first step ends the run there. Under SLURM too: Lightning's own
    handler would save each rank wherever the signal finds it.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.signum: int | None = None
        self._is_stopping = False
        self._asked: tuple[Tensor, Any] | None = None
        """The highest signal of all ranks, 0 for none, on its way to the host."""
        self._process = os.getpid()
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self._forward: Callable[[int], None] | None = None

    def watch(self) -> None:
        """Heed the signals from now on, until ``release``."""
        self._install(self._receive)

    def release(self) -> None:
        """Put the handlers back that were there when this callback was made."""
        self._install(None)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.watch()  # on_fit_start is too late: configure_optimizers asks for the number of steps, so workers run

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._is_agreed(trainer, now=True):  # before the first step: there is nothing to save
            raise Interrupted(self.signum or signal.SIGINT)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "validate":
            return
        if self.signum is not None:  # it came between training and this evaluation
            raise Interrupted(self.signum)
        launcher = trainer.strategy.launcher
        self._forward = getattr(launcher, "kill", None)  # to the processes that this one started
        self._install(self._stop_now)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.release()

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
        if self._is_agreed(trainer, now=True):
            self.checkpoints.save_last(trainer)
            raise Interrupted(self.signum or signal.SIGINT)

    def _install(self, handler: Callable[[int, FrameType | None], None] | None) -> None:
        """``handler`` for all signals; None for those of before."""
        if threading.current_thread() is threading.main_thread():
            for number, before in self._before.items():
                signal.signal(number, handler or before or signal.SIG_DFL)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a child that was forked: Ctrl-C reaches it too, and it has work to do
            return
        if self.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signum is None:
            hint = "; once more to stop at once" if signum == signal.SIGINT else ""
            print(f"{signal.Signals(signum).name}: stopping after this step{hint}", file=sys.stderr, flush=True)
            self.signum = signum

    def _stop_now(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process or self.signum is not None:
            return
        self.signum = signum
        if self._forward is not None and signum != signal.SIGINT:  # Ctrl-C reaches them by itself
            self._forward(signum)
        raise Interrupted(signum)

    def _is_agreed(self, trainer: pl.Trainer, *, now: bool = False) -> bool:
        """Whether any rank had a signal when this was last called, or has one ``now``; all then know which."""
        if trainer.world_size == 1:
            return self.signum is not None
        before, self._asked = self._asked, ask_all(self.signum or 0, trainer.strategy.root_device)
        answer = self._asked if now else before
        if answer is None:
            return False
        highest, event = answer
        if event is not None:
            event.synchronize()
        self.signum = int(highest) or self.signum
        return bool(highest)


def keep_out_lightning(trainer: pl.Trainer) -> None:
    """Keep Lightning from handling SIGTERM: it would end training without a checkpoint, and an evaluation with code 0.

    Call it before the trainer runs anything.
    """
    connector: Any = trainer._signal_connector
    connector.register_signal_handlers = lambda: None


def ask_all(number: int, device: torch.device) -> tuple[Tensor, Any]:
    """The highest ``number`` of all ranks, as ``start_copy`` gives it. Every rank must call it.

    None waits for its device, as it would in Lightning's ``strategy.reduce``, which begins with a barrier.
    """
    highest = torch.full((), float(number), device=device)
    dist.all_reduce(highest, op=dist.ReduceOp.MAX)
    return start_copy(highest)
