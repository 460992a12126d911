"""The learning rate of SSN's offsets, their own from the first epoch to the last (Section 4, "Training")."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from lightning_modules.ssn.config import Config

GROUP = "offsets"
"""``name`` of the optimizer's parameter group it sets."""


class OffsetLrDecay(pl.Callback):
    """Before every batch: ``feature_shift.offset_lr`` × ``offset_lr_decay`` to the power of the epoch.

    A function of the epoch alone: whatever the main schedule does to the group is undone, and a resumed run goes on
    where it was. Logged as ``lr/offsets``. Epochs count from the start of training, not from the insertion of the
    modules, which falls into the first epoch of the paper's recipe.
    """

    def __init__(self, config: Config) -> None:
        self.start = config.feature_shift.offset_lr
        self.decay = config.feature_shift.offset_lr_decay

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        rate = self.start * self.decay**trainer.current_epoch
        groups = [
            group for optimizer in trainer.optimizers for group in optimizer.param_groups if group.get("name") == GROUP
        ]
        for group in groups:
            group["lr"] = rate
        if groups:
            pl_module.log("lr/offsets", rate, batch_size=1)
