"""The limit of whatever is mostly products: its multiply-accumulates at the rate of one large product of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.benchmarks.measuring import Run, Setting


def matrix_rate(setting: Setting) -> float:
    """Operations a second of a large product of matrices: the best of several."""
    side = 8192 if setting.is_gpu else 1024
    dtype = torch.bfloat16 if setting.is_gpu else torch.float32
    left, right = (torch.randn(side, side, device=setting.device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / min(setting.seconds(lambda: left @ right) for _ in range(5))


def operations(run: Run) -> float:
    """Of the products and convolutions of ``run``, two a multiply-accumulate, backward passes inside included."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def race_beside_product(
    setting: Setting, runs: Mapping[str, Run], work: float, **options: Any
) -> tuple[dict[str, float], float]:
    """``Setting.race``, and the milliseconds that ``work`` operations take at the rate of a large product.

    The rate is the better of one before and one after: a limit is of the machine at its best.
    """
    before = matrix_rate(setting)
    times = setting.race(runs, **options)
    return times, 1e3 * work / max(before, matrix_rate(setting))
