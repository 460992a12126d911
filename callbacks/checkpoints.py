"""``best.ckpt`` and ``last.ckpt``, and nothing else to choose from."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

MONITOR = "val/AP"
"""Figure to maximise, the same on all ranks; NaN is never the best."""

RESUMING = ("optimizer_states", "lr_schedulers", "loops", "callbacks", "current_model_state")
"""Entries of a checkpoint that only a training that goes on reads."""


class Checkpoints(Checkpoint):
    """Keeps the best and the last state of a run.

    ``last.ckpt`` is written after every epoch, after every evaluation within an epoch, and every ``every_steps``
    optimizer steps; the one before stays as ``previous.ckpt``, in case the newest is damaged. The first ``last.ckpt``
    after an evaluation whose ``MONITOR`` is above all earlier ones is ``best.ckpt`` too: the same file under two names
    where the file system has hard links, else a copy. The end of a training that ends between two evaluations is
    offered by ``offer_last``. Files appear whole or not at all. ``keep_weights`` makes them small once a run is done.

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
        self._is_best_next = False
        """Whether the state that is written next is the best one."""

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
        self._is_best_next |= self._is_best(math.nan if score is None else float(score), trainer)
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
            _name_too(self.last, self.best)
        return is_best

    def keep_weights(self) -> None:
        """Leave the weights of the best and the last state, with what describes them; call it on rank 0 only.

        Nothing resumes from them; all that loads a trained model does. One file has both names where both are of one
        step.
        """
        self.previous.unlink(missing_ok=True)
        steps = [_reduce(file) for file in (self.best, self.last) if file.exists()]
        if len(steps) == 2 and steps[0] == steps[1]:
            _name_too(self.last, self.best)

    def _is_best(self, score: float, trainer: pl.Trainer) -> bool:
        is_best = score > (-math.inf if self.best_score is None else self.best_score)
        if is_best:
            self.best_score, self.best_step = score, trainer.global_step
        return is_best

    def save_last(self, trainer: pl.Trainer) -> None:
        """Write ``last.ckpt`` now. Every rank must call it.

        It is written beside it first: Lightning writes in the system's temporary folder and moves, which between file
        systems is a copy that can be cut short. What was there becomes ``previous.ckpt``.
        """
        draft = self.last.with_suffix(".part")
        try:
            trainer.save_checkpoint(draft)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        if trainer.is_global_zero:
            if self._is_best_next:
                _name_too(draft, self.best)
            if self.last.exists():
                os.replace(self.last, self.previous)
            os.replace(draft, self.last)
        self._is_best_next = False


def _name_too(file: Path, name: Path) -> None:
    """``name`` becomes ``file`` too, by a hard link or, on file systems without, as a copy."""
    draft = name.with_name(f"{name.name}.part")
    draft.unlink(missing_ok=True)
    try:
        os.link(file, draft)
    except OSError:
        shutil.copyfile(file, draft)
    os.replace(draft, name)
    draft.unlink(missing_ok=True)  # which stays where both were one file already


def _reduce(file: Path) -> int:
    """Leave out the entries ``RESUMING`` of a checkpoint; returns its optimizer step."""
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    draft = file.with_suffix(".part")
    torch.save({name: value for name, value in content.items() if name not in RESUMING}, draft)
    os.replace(draft, file)
    return int(content["global_step"])


def is_resumable_here(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint written in ``on_train_batch_end`` resumes exactly after this batch.

    It does not in the middle of an accumulation (its gradients would be lost), nor where an evaluation or the end of
    the epoch follows at once (it would be skipped): those write their own.
    """
    has_stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
    evaluates_now = (batch_idx + 1) % trainer.val_check_batch == 0 if trainer.val_check_batch else False
    return has_stepped and not evaluates_now and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
