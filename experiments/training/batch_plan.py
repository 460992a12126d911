"""How many samples an optimizer step has, and what that means for the learning rate and for figures in steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from experiments.merging import ConfigError
from experiments.schema import Accelerator, RunConfig, TrainerConfig
from lightning_modules.papers import Paper
from lightning_modules.shared.config import LrScaling, OptimizerConfig, ScheduleUnit


class BatchPlan(NamedTuple):
    devices: int
    """Over all nodes."""
    batch_size: int
    """Samples a device takes at a time."""
    accumulate: int
    """Batches per optimizer step and device."""
    size_factor: float
    """Samples of a step over ``optimizer.reference_batch``."""
    lr_factor: float
    """What the recipe's learning rate is multiplied by (``optimizer.scale_lr``)."""

    @property
    def samples_per_step(self) -> int:
        """Over all devices."""
        return self.devices * self.batch_size * self.accumulate

    def steps(self, recipe_steps: float) -> int:
        """Optimizer steps that see as many samples as ``recipe_steps`` of the recipe's batch; at least one."""
        return max(1, round(recipe_steps / self.size_factor))

    def in_steps(self, count: int, recipe: OptimizerConfig) -> int:
        """A figure in optimizer steps at this batch, where the recipe's schedule counts steps; 0 and -1 stay."""
        return self.steps(count) if count > 0 and recipe.unit is ScheduleUnit.step else count

    def optimizer(self, recipe: OptimizerConfig) -> OptimizerConfig:
        """The recipe at this batch: its rate scaled, warm-up and milestones in steps moved to the same samples."""
        milestones, warmup = recipe.milestones, recipe.warmup_steps
        if recipe.unit is ScheduleUnit.step:
            milestones = [self.steps(milestone) for milestone in milestones]
        if warmup > 0:
            warmup = self.steps(warmup)
        return replace(recipe, lr=recipe.lr * self.lr_factor, milestones=milestones, warmup_steps=warmup)

    def model(self, config: Any, paper: Paper, recipe: OptimizerConfig) -> Any:
        """A paper's configuration at this batch: its figures in steps moved to the same samples, its rates scaled."""
        for key in paper.step_keys:
            config = _changed(config, key.split("."), lambda count: self.in_steps(count, recipe))
        for key in paper.rate_keys:
            config = _changed(config, key.split("."), lambda rate: rate * self.lr_factor)
        return config


def plan_batches(
    *,
    devices: int,
    batch_size: int,
    reference_batch: int,
    accumulate: int | None = None,
    scale_lr: LrScaling = LrScaling.none,
) -> BatchPlan:
    """Share the paper's batch out among the devices, each of which accumulates what it cannot take at once.

    Where the batch does not divide by the devices, a step has the most samples below it that do.

    Args:
        devices: over all nodes.
        batch_size: the most samples a device takes at a time.
        accumulate: batches of exactly ``batch_size`` per device and step, a step of any size; None for the paper's.

    Raises:
        ConfigError: more devices than samples in a step.
    """
    if accumulate is None:
        share = reference_batch // devices
        if share == 0:
            raise ConfigError(
                f"trainer.devices: {devices} devices are more than the {reference_batch} samples of the recipe's step; "
                "take fewer devices, or ask for a larger step with trainer.accumulate=1 and name the rate's rule in "
                "optimizer.scale_lr"
            )
        batch_size = max(size for size in range(1, min(batch_size, share) + 1) if share % size == 0)
        accumulate = share // batch_size
    factor = devices * batch_size * accumulate / reference_batch
    lr_factor = {LrScaling.none: 1.0, LrScaling.linear: factor, LrScaling.sqrt: math.sqrt(factor)}[scale_lr]
    return BatchPlan(devices, batch_size, accumulate, factor, lr_factor)


def plan_run(config: RunConfig, devices: int) -> BatchPlan:
    """``plan_batches`` of a run's configuration."""
    return plan_batches(
        devices=devices,
        batch_size=config.data.batch_size,
        reference_batch=config.optimizer.reference_batch,
        accumulate=config.trainer.accumulate,
        scale_lr=config.optimizer.scale_lr,
    )


def devices_per_node(options: TrainerConfig) -> int | None:
    """How many devices ``trainer.devices`` names; None where that depends on the machine. Starts none of them."""
    if options.devices in ("auto", -1, "-1"):
        return 1 if options.accelerator is Accelerator.cpu else None
    if isinstance(options.devices, str) and "," in options.devices:
        return len(options.devices.strip(",").split(","))
    return int(options.devices)


def _changed(config: Any, path: list[str], change: Callable[[Any], Any]) -> Any:
    name, *rest = path
    value = getattr(config, name)
    return replace(config, **{name: _changed(value, rest, change) if rest else change(value)})


def describe(plan: BatchPlan, recipe: OptimizerConfig) -> str:
    """``"16 samples a step (4 devices × 2 × 2 accumulated), learning rate 0.01"``, and what differs from the recipe."""
    device = "1 device" if plan.devices == 1 else f"{plan.devices} devices"
    accumulated = f" × {plan.accumulate} accumulated" if plan.accumulate > 1 else ""
    text = f"{plan.samples_per_step} samples a step ({device} × {plan.batch_size}{accumulated})"
    if plan.size_factor == 1:
        return f"{text}, learning rate {recipe.lr:g}"
    text += f", the recipe has {recipe.reference_batch}: learning rate {recipe.lr:g} "
    text += "kept" if plan.lr_factor == 1 else f"scaled to {recipe.lr * plan.lr_factor:g}"
    text += f" (optimizer.scale_lr={recipe.scale_lr.name})"
    if recipe.unit is ScheduleUnit.step:
        text += f", its steps times {1 / plan.size_factor:.3g}"
    return text
