"""Stops at the first loss that is not finite, and says which term, step and samples."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from callbacks.step_loss import step_loss
from datamodules.contracts import PoseBatch


class NonFiniteLoss(RuntimeError):
    """A loss was NaN or infinite."""


class _Step(NamedTuple):
    number: int
    """Of the optimizer step that the batch is a part of, from 1."""
    names: list[str]
    values: Tensor
    """f32 [n] on the host; filled once ``event`` has passed."""
    event: Any
    batch: PoseBatch


class NanGuard(pl.Callback):
    """Watches the loss and every logged ``train/`` term without making the host wait for the device.

    The values of a step are copied to the host asynchronously and looked at when they have arrived, one to ``depth``
    steps later (at once on a CPU); that many batches are kept meanwhile. By then later steps may have spread the NaN
    to the weights, but the step, the terms and the batch that are told and saved are those where it began, and no
    checkpoint is written after it: checkpoints and evaluations look first.

    Args:
        directory: the batch is saved there as ``nan_batch_rank<r>.pt`` (plain tensors; loads with ``weights_only``).
        depth: most steps to wait for.

    Raises (in training):
        NonFiniteLoss: one line with the terms, the step, the rank, the sample ids and the file.
    """

    def __init__(self, directory: Path, depth: int = 4) -> None:
        self.directory = directory
        self.depth = depth
        self._pending: deque[_Step] = deque()
        self._number = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.directory = Path(trainer.strategy.broadcast(str(self.directory)))  # every rank may have to write there

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._number = trainer.global_step + 1

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: PoseBatch, batch_idx: int
    ) -> None:
        names, values = loss_and_terms(trainer, step_loss(trainer, outputs))
        host, event = start_copy(values)
        self._pending.append(_Step(self._number, names, host, event, batch))
        while self._pending and (len(self._pending) > self.depth or _has_arrived(self._pending[0].event)):
            self._look(trainer, self._pending.popleft())

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look_at_all(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look_at_all(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look_at_all(trainer)

    def _look_at_all(self, trainer: pl.Trainer) -> None:
        while self._pending:
            self._look(trainer, self._pending.popleft())

    def _look(self, trainer: pl.Trainer, step: _Step) -> None:
        if step.event is not None:
            step.event.synchronize()
        values = dict(zip(step.names, step.values.tolist(), strict=True))
        if all(math.isfinite(value) for value in values.values()):
            return
        self._pending.clear()
        raise NonFiniteLoss(save_and_tell(trainer, BadStep(step.number, values, step.batch), self.directory))


def loss_and_terms(trainer: pl.Trainer, loss: Tensor) -> tuple[list[str], Tensor]:
    """Names and values, f32 [n] on the device, of the loss and every term that this step logged as ``train/…``."""
    terms = {
        name.removesuffix("_step"): value
        for name, value in trainer.callback_metrics.items()
        if name.startswith("train/") and value.device == loss.device
    }
    values = torch.stack([value.detach().float().reshape(()) for value in (loss, *terms.values())])
    return ["loss", *terms], values


class BadStep(NamedTuple):
    """An optimizer step that is not finite."""

    number: int
    values: dict[str, float]
    """``loss`` and what else is known, by name."""
    batch: PoseBatch


def save_and_tell(trainer: pl.Trainer, step: BadStep, directory: Path) -> str:
    """Save the batch as ``nan_batch_rank<r>.pt`` (plain tensors; loads with ``weights_only``).

    Returns:
        One line with the terms that are not finite, the step, the rank, the sample ids and the file.
    """
    file = directory / f"nan_batch_rank{trainer.global_rank}.pt"
    torch.save({"step": step.number, "values": step.values, "batch": _plain(step.batch)}, file)
    bad = {name: value for name, value in step.values.items() if not math.isfinite(value)}
    sums = ("loss", "train/loss")
    told = {name: value for name, value in bad.items() if name not in sums} or bad
    terms = ", ".join(f"{name} is {value}" for name, value in told.items())
    samples, images = (
        ", ".join(str(number) for number in ids.tolist())
        for ids in (step.batch.meta.sample_id, step.batch.meta.image_id)
    )
    rank = f", rank {trainer.global_rank}" if trainer.world_size > 1 else ""
    return f"{terms} at step {step.number}{rank}, samples {samples} (images {images}); the batch is saved in {file}"


def start_copy(values: Tensor) -> tuple[Tensor, Any]:
    """``values`` on the host, there once the event has passed, and the event; None where they are there already."""
    if values.device.type != "cuda":
        return values.cpu(), None
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return host, event


def _has_arrived(event: Any) -> bool:
    return event is None or event.query()


def _plain(value: Any) -> Any:
    """Nested NamedTuples as dicts, tensors on the host."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    return value
