"""How many samples batch normalisation sees, and whether it sees those of all devices."""

from __future__ import annotations

import torch
from torch import nn

from experiments.schema import Accelerator, RunConfig, TrainerConfig
from experiments.training.batch_plan import BatchPlan

FEW = 16
"""Samples below which the statistics of a batch are worth a line."""


def is_synchronised(options: TrainerConfig) -> bool:
    """Whether several devices share their batch statistics: GPUs where ``trainer.sync_batchnorm`` asks for it."""
    is_gpu = options.accelerator in (Accelerator.auto, Accelerator.gpu) and torch.cuda.is_available()
    return options.sync_batchnorm and is_gpu


def describe_batch_norm(network: nn.Module, plan: BatchPlan, config: RunConfig) -> str | None:
    """One line where trained batch normalisation sees few samples on a device; None else.

    Args:
        network: in training mode; frozen layers are in evaluation mode.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if plan.batch_size >= min(FEW, config.optimizer.reference_batch) or not any(layer.training for layer in layers):
        return None
    if plan.devices > 1 and is_synchronised(config.trainer):
        seen = f"{plan.devices * plan.batch_size} samples, those of {plan.devices} devices"
    else:
        seen = f"{plan.batch_size} sample{'s' * (plan.batch_size > 1)}, on each device its own"
    needs_gpus = config.trainer.sync_batchnorm and plan.devices > 1 and not is_synchronised(config.trainer)
    asked = str(config.trainer.sync_batchnorm).lower() + (", which needs GPUs" if needs_gpus else "")
    return f"batch normalisation over {seen} (trainer.sync_batchnorm={asked})"
