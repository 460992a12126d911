"""Optimizers and learning-rate schedules, stepped once per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.shared.config import OptimizerConfig, OptimizerName, Schedule, ScheduleUnit


def build_optimizer(
    param_groups: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]], config: OptimizerConfig, trainer: pl.Trainer
) -> dict[str, Any]:
    """What ``configure_optimizers`` returns: the optimizer and its schedule.

    Args:
        param_groups: parameters, or dicts with ``params`` and what a group has of its own; frozen ones are left out.
        config: the run's optimizer section.
        trainer: tells how many optimizer steps an epoch and the run have.

    Raises:
        ValueError: nothing to train, or a cosine schedule in a run without an end.
    """
    groups = [group if isinstance(group, dict) else {"params": [group]} for group in param_groups]
    if groups and all(set(group) == {"params"} for group in groups):
        groups = [{"params": [parameter for group in groups for parameter in group["params"]]}]
    groups = [group | {"params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("every parameter is frozen: lower model.backbone.frozen_stages")
    if config.name is OptimizerName.sgd:
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    else:
        kind = torch.optim.Adam if config.name is OptimizerName.adam else torch.optim.AdamW
        optimizer = kind(groups, lr=config.lr, eps=config.eps, weight_decay=config.weight_decay)
    total_steps = trainer.estimated_stepping_batches  # also makes the trainer count an epoch's batches
    steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    factor = learning_rate_factor(config, steps_per_epoch, total_steps)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step", "name": "lr"},
    }


def backbone_and_heads(network: torch.nn.Module, lr: float, backbone_lr_factor: float) -> list[dict[str, Any]]:
    """Parameter groups ``backbone`` and ``heads`` of a network that has a ``backbone``, the former at its own rate."""
    backbone = list(network.get_submodule("backbone").parameters())
    inside = {id(parameter) for parameter in backbone}
    heads = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    return [
        {"name": "backbone", "params": backbone, "lr": lr * backbone_lr_factor},
        {"name": "heads", "params": heads, "lr": lr},
    ]


def learning_rate_factor(config: OptimizerConfig, steps_per_epoch: float, total_steps: float) -> Callable[[int], float]:
    """The rate of each optimizer step as a fraction of ``config.lr``, a function of the steps already made.

    Warm-up rises linearly from ``warmup_factor`` and multiplies the schedule. Multistep multiplies by ``gamma`` once
    each milestone is reached; cosine falls to 0 at the last step.

    Raises:
        ValueError: cosine without a known number of steps.
    """
    unit = steps_per_epoch if config.unit is ScheduleUnit.epoch else 1
    milestones = [round(milestone * unit) for milestone in config.milestones]
    if config.schedule is Schedule.cosine and not math.isfinite(total_steps):
        raise ValueError("optimizer.schedule=cosine needs the length of the run: set trainer.max_epochs or max_steps")

    def factor(step: int) -> float:
        warmup = 1.0
        if step < config.warmup_steps:
            warmup = config.warmup_factor + (1 - config.warmup_factor) * step / config.warmup_steps
        if config.schedule is Schedule.multistep:
            return warmup * config.gamma ** sum(step >= milestone for milestone in milestones)
        if config.schedule is Schedule.cosine:
            return warmup * 0.5 * (1 + math.cos(math.pi * min(step / total_steps, 1.0)))
        return warmup

    return factor
