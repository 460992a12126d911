"""The loss of a batch, as callbacks are to tell it."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor


def step_loss(trainer: pl.Trainer, outputs: Any) -> Tensor:
    """What ``training_step`` returned, from the ``outputs`` of ``on_train_batch_end``.

    Lightning has divided it there by the batches that an optimizer step accumulates.
    """
    loss: Tensor = outputs["loss"] if isinstance(outputs, dict) else outputs
    return loss * trainer.accumulate_grad_batches
