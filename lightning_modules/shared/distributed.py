"""What the processes of a distributed run agree on."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def normalizers_over_ranks(counts: Tensor) -> Tensor:
    """Divisors that make N processes train as one process would on the union of their batches.

    DDP averages gradients over processes, so a sum of losses is divided by the *mean* count; where the union has
    nothing to count, by one over the number of processes (the union's divisor is then 1).

    Args:
        counts: any shape, this process's counts. Every process must call with the same shape.

    Returns:
        f32 of the same shape, ``max(sum over processes, 1) / processes``, without gradient. One process:
        ``max(counts, 1)``.
    """
    total = counts.detach().to(torch.float32, copy=True)
    processes = 1
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(total)
        processes = distributed.get_world_size()
    return total.clamp(min=1.0) / processes
