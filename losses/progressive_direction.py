"""Progressive direction distinction: early stages are hardly punished for confusing left and right (Eq. 17)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SCHEDULES: dict[str, tuple[float, ...]] = {
    "uniform": (1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "linear": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "quadratic_a": (0.0, 0.45, 0.69, 0.85, 0.95, 1.0),
    "quadratic_b": (0.0, 0.05, 0.15, 0.31, 0.65, 1.0),
}
"""β of each of six stages (section IV-B)."""


def stage_factors(schedule: str, stages: int) -> tuple[float, ...]:
    """β of each stage; other numbers of stages than six interpolate between the first and the last, one alone has 1.

    Raises:
        ValueError: no such schedule, or no stage.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"PDD schedule {schedule!r}: choose one of {', '.join(SCHEDULES)}")
    if stages < 1:
        raise ValueError(f"{stages} stages: at least one is needed")
    factors = SCHEDULES[schedule]
    if stages == len(factors):
        return factors
    if stages == 1:
        return factors[-1:]
    positions = torch.linspace(0, len(factors) - 1, stages, dtype=torch.float64)
    below = positions.floor().clamp_max(len(factors) - 2)
    table = torch.tensor(factors, dtype=torch.float64)
    low, high = table[below.long()], table[below.long() + 1]
    return tuple(float(value) for value in low + (positions - below) * (high - low))


def direction_fault(active: Tensor, partner: Tensor) -> Tensor:
    """Where a left/right confusion shows: the counterpart's target is active and the channel's own is not.

    Args:
        active: bool [B, C, ...], the target's active cells.
        partner: i64 [C], each channel's counterpart; a channel without one is its own.

    Returns:
        bool, the shape of ``active``; False throughout for channels without a counterpart.
    """
    return active.index_select(1, partner) & ~active


class ProgressiveDirection(nn.Module):
    """Weight of a cell's error: β of the stage on a direction fault, 1 elsewhere (Eq. 17).

    Args:
        factors: β of each of the S stages; ones give the loss without it.
    """

    factors: Tensor

    def __init__(self, factors: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float32), persistent=False)

    def forward(self, fault: Tensor) -> Tensor:
        """Faults, bool [B, C, ...] -> weights, f32 [S, B, C, ...]."""
        beta = self.factors.view(-1, *[1] * fault.ndim)
        return torch.where(fault, beta, 1.0)  # Eq. 17
