"""How many samples an optimizer step has, and what that means for the learning rate."""

from __future__ import annotations

from typing import NamedTuple


class BatchPlan(NamedTuple):
    accumulate: int
    """Batches per optimizer step and device."""
    samples_per_step: int
    """Over all devices."""
    lr_factor: float
    """``samples_per_step / reference_batch``: what the recipe's learning rate is multiplied by."""


def plan_batches(*, devices: int, batch_size: int, reference_batch: int, accumulate: int | None) -> BatchPlan:
    """Reach the paper's batch as nearly as the devices allow.

    Fewer samples per round than ``reference_batch`` are accumulated up to it; more, or a number that does not divide
    it, keep the recipe by scaling the learning rate linearly (Goyal et al., 2017).

    Args:
        devices: over all nodes.
        batch_size: samples per device and batch.
        accumulate: None for as many batches as fit into ``reference_batch``, at least one.
    """
    per_round = devices * batch_size
    rounds = max(1, reference_batch // per_round) if accumulate is None else accumulate
    samples = per_round * rounds
    return BatchPlan(rounds, samples, samples / reference_batch)


def describe(plan: BatchPlan, *, devices: int, batch_size: int, reference_batch: int, lr: float) -> str:
    """``"16 samples a step (4 devices × 2 × 2 accumulated)"``, and the learning rate where it is scaled."""
    device = "1 device" if devices == 1 else f"{devices} devices"
    accumulated = f" × {plan.accumulate} accumulated" if plan.accumulate > 1 else ""
    text = f"{plan.samples_per_step} samples a step ({device} × {batch_size}{accumulated})"
    if plan.lr_factor != 1:
        text += f", the recipe has {reference_batch}: learning rate {lr:g} scaled to {lr * plan.lr_factor:g}"
    return text
