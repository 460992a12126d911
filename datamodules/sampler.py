"""The order of training samples, and what makes each one's augmentation repeatable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data.distributed import DistributedSampler


class Draw(NamedTuple):
    """Sample number ``sample`` as it is drawn in ``epoch``."""

    sample: int
    epoch: int


class EpochSampler(DistributedSampler[Any]):
    """Every sample once an epoch, in an order that depends on (seed, epoch) alone, as ``Draw``s.

    The share of one rank of ``num_replicas``: orders agree over the ranks, and shares are of one length (the first
    samples are repeated where the number does not divide). Lightning leaves a distributed sampler as it is and calls
    ``set_epoch``; where nobody does, each pass is the next epoch.
    """

    def __init__(self, length: int, seed: int = 0, num_replicas: int = 1, rank: int = 0) -> None:
        numbers: Any = range(length)  # it asks a data set for its length alone
        super().__init__(numbers, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed)
        self.length = length
        self._skip = 0

    def start_at(self, epoch: int, samples: int = 0) -> None:
        """Let the next pass be that of ``epoch`` without its first ``samples``: where an interrupted run goes on."""
        self.epoch, self._skip = epoch, samples

    def __iter__(self) -> Iterator[Draw]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * epoch)
        order = torch.randperm(self.length, generator=generator)
        share = torch.arange(self.rank, self.total_size, self.num_replicas) % self.length
        skip, self._skip = self._skip, 0
        return (Draw(sample, epoch) for sample in order[share][skip:].tolist())
