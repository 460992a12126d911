"""Decides which parts of a network hardly move although they should learn, and why."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

LEAST_SHARE = 0.01
"""Of the learning rate that Adam moves a value by at most, the least median share of a healthy part."""
LEAST_CHANGE = 1e-6
"""Of the weights' norm, the least update of a healthy part under SGD at its full rate."""


class VitalSigns(NamedTuple):
    """Measured of one part at one optimizer step."""

    grad_norm: float
    weight_norm: float
    update_norm: float
    update_over_lr: float
    """NaN where nothing of the part is optimized or its rate is 0."""
    root_second_moment: float
    """Median √v̂ of Adam; NaN under another optimizer."""


class Rule(NamedTuple):
    """By what a part is judged."""

    should_learn: bool
    is_frozen: bool
    is_optimized: bool
    """Whether the optimizer holds any of its parameters."""
    eps: float | None
    """Adam's; None under SGD."""
    rate_share: float
    """The present learning rate as a share of the schedule's full rate; 0 in a step that moves nothing."""


class Starvation:
    """Reports a part once it has been starved at every measurement over ``patience`` optimizer steps.

    Starved is a part that should learn and

    - is frozen, or left out of the optimizer, or gets a gradient of exactly zero;
    - under Adam: moves by less than ``LEAST_SHARE`` of its learning rate (median over its values), whose step it would
      make with an epsilon of 0;
    - under SGD: changes by less than ``LEAST_CHANGE`` of the norm of its weights, divided by the share of the full rate
      that the schedule leaves. SGD's rate by itself bounds no step; at this pace ten thousand steps in one direction
      change the part by a hundredth.

    A part that recovers may be reported again.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self._since: dict[str, int] = {}
        """The first measurement at which a part was starved, of those that still are."""
        self._reported: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        return {"since": dict(self._since), "reported": sorted(self._reported)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._since, self._reported = dict(state_dict["since"]), set(state_dict["reported"])

    def judge(self, step: int, rules: dict[str, Rule], signs: dict[str, VitalSigns]) -> list[str]:
        """Lines on the parts that have been starved for long enough, measured at ``step``."""
        lines = []
        for part, rule in rules.items():
            reason = starved_because(rule, signs[part])
            if reason is None:
                self._since.pop(part, None)
                self._reported.discard(part)
                continue
            since = self._since.setdefault(part, step)
            if step - since >= self.patience and part not in self._reported:
                self._reported.add(part)
                lines.append(f"warning: {part} does not learn (steps {since} to {step}): {reason}")
        return lines


def starved_because(rule: Rule, signs: VitalSigns) -> str | None:
    """Why a part is starved, in one clause; None where it is not."""
    if not rule.should_learn:
        return None
    if rule.is_frozen:
        return "it is frozen, requires_grad is False for all its parameters"
    if not rule.is_optimized:
        return "the optimizer holds none of its parameters; add them in configure_optimizers"
    if signs.grad_norm == 0:
        return "its gradient is zero, no loss term reaches it"
    if rule.eps is None:
        return _too_slow(rule, signs)
    if math.isnan(signs.update_over_lr) or signs.update_over_lr >= LEAST_SHARE:
        return None
    moves = f"it moves by {signs.update_over_lr:.1g} of its learning rate"
    root = signs.root_second_moment
    if root == 0:
        return f"{moves}, more than half of its values have a gradient of zero"
    if root < rule.eps:
        return f"{moves}, Adam's eps {rule.eps:.1g} swallows its gradient (median √v {root:.1g})"
    return f"{moves}, its gradient is far below what it was (median √v {root:.1g})"


def _too_slow(rule: Rule, signs: VitalSigns) -> str | None:
    if rule.rate_share == 0 or signs.weight_norm == 0:
        return None
    change = signs.update_norm / signs.weight_norm / rule.rate_share
    if change > LEAST_CHANGE:
        return None
    return f"a step changes it by {change:.1g} of its weights' norm, its gradient ({signs.grad_norm:.1g}) is too small"
