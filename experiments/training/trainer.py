"""The Lightning Trainer a configuration describes: devices, processes and what they run on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy, Strategy

from callbacks.interruption import keep_out_lightning
from experiments.schema import RunConfig
from experiments.schema import Strategy as StrategyName
from experiments.training.batch_norm import is_synchronised
from experiments.training.batch_plan import devices_per_node


def build_trainer(config: RunConfig, directory: Path) -> pl.Trainer:
    """The Trainer without callbacks and loggers, which need to know its number of devices."""
    options = config.trainer
    trainer = pl.Trainer(
        accelerator=options.accelerator.value,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=_strategy(config),
        plugins=_environment(),
        precision=cast(Any, options.precision),
        max_epochs=options.max_epochs,
        max_steps=options.max_steps,
        check_val_every_n_epoch=options.val_every_epochs,
        val_check_interval=options.val_every_steps,
        limit_train_batches=options.limit_train_batches,
        log_every_n_steps=options.log_every_steps,
        gradient_clip_val=config.optimizer.clip_norm,
        deterministic=options.deterministic,
        sync_batchnorm=is_synchronised(options),
        default_root_dir=directory,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    keep_out_lightning(trainer)
    return trainer


def _environment() -> list[Any]:
    """Under SLURM, its environment without Lightning's requeueing: ``callbacks.interruption`` stops all ranks at one
    step, where Lightning saves each rank wherever the signal finds it."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def _strategy(config: RunConfig) -> Strategy | str:
    options = config.trainer
    per_node = devices_per_node(options)
    if per_node is None:
        per_node = torch.cuda.device_count()
    if options.strategy is StrategyName.auto and max(per_node, 1) * options.num_nodes == 1:
        return "auto"
    return DDPStrategy(timeout=timedelta(seconds=options.ddp_timeout), gradient_as_bucket_view=True)
