"""An exponential moving average of the weights is what is evaluated and kept."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


def average_weights(decay: float) -> WeightAveraging:
    """Lightning's callback: after every optimizer step θ' <- decay·θ' + (1 − decay)·θ, beginning with θ of the first.

    Evaluations use θ', and ``state_dict`` of a checkpoint holds it; training goes on with θ. Buffers (running
    statistics) are those of θ, not averaged: among them are indices and flags. Place it before all callbacks that save
    checkpoints.
    """

    def update(averaged: tuple[Tensor, ...], current: tuple[Tensor, ...], _: Any) -> None:
        torch._foreach_lerp_(averaged, current, 1 - decay)

    return WeightAveraging(use_buffers=False, multi_avg_fn=update)
