"""``best.ckpt`` and ``last.ckpt``, and nothing else to choose from."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

MONITOR = "val/AP"
"""Figure to maximise, the same on all ranks; NaN is never the best."""


class Checkpoints(Checkpoint):
    """Keeps the best and the last state of a run.

    ``best.ckpt`` is written after an evaluation whose ``MONITOR`` is above all earlier ones; the end of a training that
    ends between two evaluations is offered by ``offer_last``. ``last.ckpt`` is written
    after every epoch, after every evaluation within an epoch, and every ``every_steps`` optimizer steps; the one before
    stays as ``previous.ckpt``, in case the newest is damaged. Files appear whole or not at all.

    Args:
        directory: of the three files.
        every_steps: optimizer steps between two checkpoints within an epoch; None writes none there.
    """

    def __init__(self, directory: Path, every_steps: int | None = None) -> None:
        self.directory = directory
        self.every_steps = every_steps
        self.best_score: float | None = None
        self.best_step: int | None = None
        self.evaluated_step: int | None = None
        """Of the last evaluation in training."""

    @property
    def best(self) -> Path:
        return self.directory / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.directory / "last.ckpt"

    @property
    def previous(self) -> Path:
        return self.directory / "previous.ckpt"

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_step": self.best_step, "evaluated_step": self.evaluated_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]
        self.best_step = state_dict["best_step"]
        self.evaluated_step = state_dict.get("evaluated_step")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.every_steps and trainer.global_step % self.every_steps == 0 and is_resumable_here(trainer, batch_idx):
            self.save_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        score = trainer.callback_metrics.get(MONITOR)
        self.evaluated_step = trainer.global_step
        if self._is_best(math.nan if score is None else float(score), trainer):
            self._save(trainer, self.best)
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.save_last(trainer)

    def offer_last(self, trainer: pl.Trainer, score: float) -> bool:
        """Make ``last.ckpt``, of this step, the best one too if ``score`` is above all before. Every rank must call it.

        Returns:
            Whether it is.
        """
        is_best = self._is_best(score, trainer)
        if is_best and trainer.is_global_zero:
            draft = self.best.with_suffix(".part")
            shutil.copyfile(self.last, draft)
            os.replace(draft, self.best)
        return is_best

    def _is_best(self, score: float, trainer: pl.Trainer) -> bool:
        is_best = score > (-math.inf if self.best_score is None else self.best_score)
        if is_best:
            self.best_score, self.best_step = score, trainer.global_step
        return is_best

    def save_last(self, trainer: pl.Trainer) -> None:
        """Write ``last.ckpt`` now. Every rank must call it."""
        self._save(trainer, self.last, keep=self.previous)

    def _save(self, trainer: pl.Trainer, file: Path, keep: Path | None = None) -> None:
        """Write beside ``file`` first: Lightning writes in the system's temporary folder and moves, which between file
        systems is a copy that can be cut short. What was in ``file`` is left, or becomes ``keep``, until then."""
        draft = file.with_suffix(".part")
        try:
            trainer.save_checkpoint(draft)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        if trainer.is_global_zero:
            if keep is not None and file.exists():
                os.replace(file, keep)
            os.replace(draft, file)


def is_resumable_here(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint written in ``on_train_batch_end`` resumes exactly after this batch.

    It does not in the middle of an accumulation (its gradients would be lost), nor where an evaluation or the end of
    the epoch follows at once (it would be skipped): those write their own.
    """
    has_stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
    evaluates_now = (batch_idx + 1) % trainer.val_check_batch == 0 if trainer.val_check_batch else False
    return has_stepped and not evaluates_now and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
