"""Logs the learning rate beside the losses, without touching the device."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class LearningRate(pl.Callback):
    """Logs ``lr``, that of the optimizer's first parameter group, for the steps whose losses are logged."""

    def __init__(self) -> None:
        self._logged_step = -1

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning declares it nowhere
        if (step + 1) % every or step == self._logged_step:
            return
        self._logged_step = step
        for logger in trainer.loggers:
            logger.log_metrics({"lr": trainer.optimizers[0].param_groups[0]["lr"]}, step=step)
