"""How many samples an optimizer step has, and what that means for the learning rate and for figures in steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from lightning_modules.papers import Paper
from lightning_modules.shared.config import OptimizerConfig, ScheduleUnit


class BatchPlan(NamedTuple):
    accumulate: int
    """Batches per optimizer step and device."""
    samples_per_step: int
    """Over all devices."""
    lr_factor: float
    """``samples_per_step / reference_batch``: what the recipe's learning rate is multiplied by."""

    def steps(self, recipe_steps: float) -> int:
        """Optimizer steps that see as many samples as ``recipe_steps`` of the recipe's batch; at least one."""
        return max(1, round(recipe_steps / self.lr_factor))

    def in_steps(self, count: int, recipe: OptimizerConfig) -> int:
        """A figure in optimizer steps at this batch, where the recipe's schedule counts steps; 0 and -1 stay."""
        return self.steps(count) if count > 0 and recipe.unit is ScheduleUnit.step else count

    def optimizer(self, recipe: OptimizerConfig) -> OptimizerConfig:
        """The recipe at this batch: its rate scaled linearly, and milestones in steps moved to the same samples."""
        milestones = recipe.milestones
        if recipe.unit is ScheduleUnit.step:
            milestones = [self.steps(milestone) for milestone in milestones]
        return replace(recipe, lr=recipe.lr * self.lr_factor, milestones=milestones)

    def model(self, config: Any, paper: Paper, recipe: OptimizerConfig) -> Any:
        """A paper's configuration at this batch: its figures in steps moved to the same samples, its rates scaled."""
        for key in paper.step_keys:
            config = _changed(config, key.split("."), lambda count: self.in_steps(count, recipe))
        for key in paper.rate_keys:
            config = _changed(config, key.split("."), lambda rate: rate * self.lr_factor)
        return config


def plan_batches(*, devices: int, batch_size: int, reference_batch: int, accumulate: int | None) -> BatchPlan:
    """Reach the paper's batch as nearly as the devices allow.

    Fewer samples per round than ``reference_batch`` are accumulated up to it; more, or a number that does not divide
    it, keep the recipe by scaling the learning rate linearly (Goyal et al., 2017). A recipe that counts steps, not
    epochs, then makes fewer or more of them: it ends after as many samples, and its rate falls after as many.

    Args:
        devices: over all nodes.
        batch_size: samples per device and batch.
        accumulate: None for as many batches as fit into ``reference_batch``, at least one.
    """
    per_round = devices * batch_size
    rounds = max(1, reference_batch // per_round) if accumulate is None else accumulate
    samples = per_round * rounds
    return BatchPlan(rounds, samples, samples / reference_batch)


def _changed(config: Any, path: list[str], change: Callable[[Any], Any]) -> Any:
    name, *rest = path
    value = getattr(config, name)
    return replace(config, **{name: _changed(value, rest, change) if rest else change(value)})


def describe(plan: BatchPlan, *, devices: int, batch_size: int, recipe: OptimizerConfig) -> str:
    """``"16 samples a step (4 devices × 2 × 2 accumulated)"``, and what else of the recipe is scaled."""
    device = "1 device" if devices == 1 else f"{devices} devices"
    accumulated = f" × {plan.accumulate} accumulated" if plan.accumulate > 1 else ""
    text = f"{plan.samples_per_step} samples a step ({device} × {batch_size}{accumulated})"
    if plan.lr_factor != 1:
        text += f", the recipe has {recipe.reference_batch}: learning rate {recipe.lr:g} scaled to "
        text += f"{recipe.lr * plan.lr_factor:g}"
        if recipe.unit is ScheduleUnit.step:
            text += f", its steps times {1 / plan.lr_factor:.3g}"
    return text
