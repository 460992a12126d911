"""One line of progress on the standard error stream: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

from callbacks.step_loss import step_loss

BAR_SECONDS = 0.5
LOG_SECONDS = 30.0


class ProgressLine(pl.Callback):
    """Shows epoch, step, loss, last AP, speed and the time that is left. Rank 0 alone writes.

    The loss is fetched from the device only when a line is written: every half second in a terminal, every 30 seconds
    (and after each evaluation) elsewhere.

    Args:
        console: where to write; None is the standard error stream.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, soft_wrap=True, highlight=False)
        self._bar: Progress | None = None
        self._task: Any = None
        self._shown_at = 0.0
        self._started_at = 0.0
        self._first_step = 0
        self._last_ap = math.nan

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.is_global_zero and self.console.is_terminal and self._bar is None:
            columns: tuple[ProgressColumn, ...] = (BarColumn(bar_width=24), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._task = self._bar.add_task("", total=None)
            self._bar.start()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started_at = self._shown_at = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._is_due(trainer):
            loss = float(step_loss(trainer, outputs))
            self._show(self._training_line(trainer, loss), *self._steps(trainer))

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._is_due(trainer):
            total = sum(int(number) for number in _as_list(trainer.num_val_batches))
            self._show(f"evaluating {batch_idx + 1}/{total}", batch_idx + 1, total)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        self._last_ap = float(trainer.callback_metrics.get("val/AP", math.nan))
        where = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  step {trainer.global_step}"
        self.console.print(f"{where}  evaluated: AP {100 * self._last_ap:.1f}")

    def _is_due(self, trainer: pl.Trainer) -> bool:
        wait = BAR_SECONDS if self._bar is not None else LOG_SECONDS
        return trainer.is_global_zero and time.monotonic() - self._shown_at >= wait

    def _show(self, line: str, done: int, total: int) -> None:
        self._shown_at = time.monotonic()
        if self._bar is None:
            self.console.print(line)
        else:
            self._bar.update(self._task, description=Text(line).plain, completed=done, total=total or None)

    def _steps(self, trainer: pl.Trainer) -> tuple[int, int]:
        total = trainer.estimated_stepping_batches
        return trainer.global_step, int(total) if math.isfinite(total) else 0

    def _training_line(self, trainer: pl.Trainer, loss: float) -> str:
        step, total = self._steps(trainer)
        rate = (step - self._first_step) / max(time.monotonic() - self._started_at, 1e-9)
        parts = [
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            f"step {step}/{total or '?'}",
            f"loss {loss:.4g}",
            *([f"AP {100 * self._last_ap:.1f}"] if math.isfinite(self._last_ap) else []),
            *([f"{rate:.2f} steps/s"] if rate > 0 else []),
            *([f"{duration((total - step) / rate)} left"] if rate > 0 and total else []),
        ]
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """``75`` -> ``1:15``; ``3700`` -> ``1:01:40``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
