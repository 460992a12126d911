"""Feature shifting modules join a network that has learnt for a while without them (SSN, Section 4, "Training")."""

from __future__ import annotations

import sys
from typing import Any

import pytorch_lightning as pl
import torch

from lightning_modules.ssn.config import Config
from lightning_modules.ssn.feature_shift import FeatureShiftModule


class DelayedFsmInsertion(pl.Callback):
    """Inserts every FSM before the first batch after ``feature_shift.insert_step`` optimizer steps of this run's batch.

    Offsets that learn from the beginning receive large gradients and move whole maps out of view, from where they do
    not return. The modules are parts of the network, of the optimizer and of checkpoints from the first step, and
    whether they are inserted is a part of the checkpoint too: a run may be resumed on either side of the step.

    At the step, batch statistics are averaged over the processes of a run and become the modules' own scale and
    shift, so that the loss does not jump; and the optimizer forgets the zero gradients that the modules had until
    then, which would let Adam's first steps be several times too long.
    """

    def __init__(self, config: Config) -> None:
        self.step = config.feature_shift.insert_step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step < self.step:
            return
        waiting = [
            module
            for module in pl_module.modules()
            if isinstance(module, FeatureShiftModule) and not module.is_inserted
        ]
        if not waiting:
            return
        average_statistics(trainer, waiting)
        for module in waiting:
            module.insert()
            for optimizer in trainer.optimizers:
                for parameter in module.parameters():
                    optimizer.state.pop(parameter, None)
        if trainer.is_global_zero:
            told = f"{len(waiting)} feature shifting modules inserted after {trainer.global_step} steps"
            print(told, file=sys.stderr, flush=True)
        for logger in trainer.loggers:
            logger.log_metrics({"fsm_inserted": float(len(waiting))}, step=max(trainer.global_step - 1, 0))


@torch.no_grad()
def average_statistics(trainer: pl.Trainer, modules: list[FeatureShiftModule]) -> None:
    """Give every process the mean of all processes' running statistics; one collective. One process: nothing."""
    buffers = [buffer for module in modules for buffer in (module.norm.running_mean, module.norm.running_var)]
    present = [buffer for buffer in buffers if buffer is not None]
    packed: Any = trainer.strategy.reduce(torch.cat(present), reduce_op="mean")
    for buffer, average in zip(present, packed.split([len(buffer) for buffer in present]), strict=True):
        buffer.copy_(average)
