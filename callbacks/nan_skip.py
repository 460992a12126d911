"""Leaves out optimizer steps whose loss or gradient is not finite, a few in a row at most."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from callbacks.nan_guard import BadStep, NonFiniteLoss, loss_and_terms, save_and_tell
from datamodules.contracts import PoseBatch


class _Backward(NamedTuple):
    batch: PoseBatch
    names: list[str]
    values: Tensor
    """f32 [n]: the loss and its terms."""


class NanSkip(pl.Callback):
    """In place of ``NanGuard``: the step is left out on all ranks, told and counted, and training goes on.

    Left out is the whole optimizer step, with every batch it accumulates: gradients are dropped, so that neither
    weights nor the optimizer's state change, and buffers (running statistics above all) are put back to what they were
    before it. The learning rate's schedule goes on. Every rank asks all others whether to skip, and waits for the
    device to know it: that is the price, once an optimizer step. Under ``16-mixed`` an infinite gradient is the
    scaler's ordinary way to find its scale: there the loss alone is looked at, and the scaler leaves out the step.

    Logged as ``skipped_steps``, those of the whole run.

    Args:
        directory: the last such batch is saved there as ``nan_batch_rank<r>.pt``.
        most: steps in a row that may be left out.

    Raises (in training):
        NonFiniteLoss: one more than ``most``; on all ranks.
    """

    def __init__(self, directory: Path, most: int) -> None:
        self.directory = directory
        self.most = most
        self.skipped = 0
        self._in_a_row = 0
        self._batches: list[_Backward] = []
        """Of this optimizer step."""
        self._batch: PoseBatch | None = None
        self._buffers: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped, self._in_a_row = state_dict["skipped"], state_dict["in_a_row"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.directory = Path(trainer.strategy.broadcast(str(self.directory)))  # every rank may have to write there

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self._batches:
            self._buffers = [buffer.detach().clone() for buffer in pl_module.buffers()]
        self._batch = batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        assert self._batch is not None
        self._batches.append(_Backward(self._batch, *loss_and_terms(trainer, loss * trainer.accumulate_grad_batches)))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        batches, self._batches = self._batches, []
        scales = getattr(trainer.precision_plugin, "scaler", None) is not None
        bad = _first_bad(trainer, pl_module, batches, look_at_gradient=not scales)
        if not _any_rank(trainer, bad is not None):
            self._in_a_row = 0
            return
        self.skipped += 1
        self._in_a_row += 1
        told = None if bad is None else save_and_tell(trainer, bad, self.directory)
        if self._in_a_row > self.most:
            why = told or f"another rank's loss is not finite at step {trainer.global_step + 1}"
            raise NonFiniteLoss(f"{why}; {self.most} steps in a row were left out before it (trainer.max_nan_skips)")
        if told:
            row = f"{self._in_a_row} of at most {self.most} in a row"
            print(f"warning: {told}; the step is left out ({row})", file=sys.stderr, flush=True)
        with torch.no_grad():
            for buffer, before in zip(pl_module.buffers(), self._buffers, strict=True):
                buffer.copy_(before)
        if not scales:
            for parameter in pl_module.parameters():
                parameter.grad = None  # which every optimizer passes over

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.skipped:
            pl_module.log("skipped_steps", float(self.skipped), rank_zero_only=True)


def _first_bad(
    trainer: pl.Trainer, module: pl.LightningModule, batches: list[_Backward], *, look_at_gradient: bool
) -> BadStep | None:
    """The first batch of an optimizer step whose loss is not finite; where all are, the last if the gradient is not."""
    number = trainer.global_step + 1
    for backward in batches:
        values = dict(zip(backward.names, backward.values.tolist(), strict=True))  # waits for the device
        if not all(math.isfinite(value) for value in values.values()):
            return BadStep(number, values, backward.batch)
    if look_at_gradient:
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0
        if not math.isfinite(norm):
            return BadStep(number, {**values, "the gradient's norm": norm}, batches[-1].batch)
    return None


def _any_rank(trainer: pl.Trainer, own: bool) -> bool:
    return own if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(own, all=False)
