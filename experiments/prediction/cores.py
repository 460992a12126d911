"""How one process shares its cores between the network, and reading and drawing beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import NamedTuple

import cv2
import torch

from datamodules.host_memory import keep_freed_memory
from experiments.prediction.people import Estimator

SWITCH_SECONDS = 5e-4
"""For which one Python thread may keep others waiting; Python's own 5 ms are a third of a small network's batch."""
MOST_STREAMS = 4
"""choice: more threads of Python would wait for each other."""


class Streams(NamedTuple):
    """Batches that are computed at the same time, each on cores of its own."""

    number: int
    threads: int
    """Of torch, in each."""

    def start(self) -> None:
        """To be called in the thread of each stream."""
        torch.set_num_threads(self.threads)

    def batch_sizes(self, size: int, samples: int | None) -> Iterator[int]:
        """``size``, without end; but what is left for a last round is shared out, so that no stream goes on alone.

        Args:
            samples: that are to come; None where nobody knows.
        """
        if samples is not None:
            rounds, rest = divmod(samples, size * self.number)
            yield from repeat(size, rounds * self.number)
            yield from repeat(max(-(-rest // self.number), 1), self.number)
        yield from repeat(size)


def plan_streams(estimator: Estimator, batches: int | None) -> Streams:
    """On a CPU several batches at once, on the threads that torch has; on a GPU one after the other.

    So no core waits at the end of each operation for another's half of it, nor while one alone decodes. Overlays listen
    to the network and have it to themselves.

    Args:
        batches: that are to come; None where nobody knows.
    """
    threads = torch.get_num_threads()
    if estimator.device.type != "cpu" or estimator.overlay is not None:
        return Streams(1, threads)
    number = min(MOST_STREAMS, threads, threads if batches is None else max(batches, 1))
    return Streams(number, threads // number)


@contextmanager
def shared_cores() -> Iterator[None]:
    """OpenCV keeps to the thread that calls it, Python's threads take turns sooner, freed memory is kept.

    But for the memory all is as before at the end, the number of torch's threads too.
    """
    threads, of_opencv, interval = torch.get_num_threads(), cv2.getNumThreads(), sys.getswitchinterval()
    cv2.setNumThreads(1)
    sys.setswitchinterval(SWITCH_SECONDS)
    keep_freed_memory()
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        cv2.setNumThreads(of_opencv)
        torch.set_num_threads(threads)  # each stream has set it for threads to come
