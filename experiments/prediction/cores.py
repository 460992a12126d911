"""How one process shares its cores between the network, and reading and drawing beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import NamedTuple

import cv2
import torch

from datamodules.cores import usable_cores
from datamodules.host_memory import keep_freed_memory
from experiments.prediction.boxes import BoxSource, TorchvisionDetector
from experiments.prediction.people import Estimator

SWITCH_SECONDS = 5e-4
"""For which one Python thread may keep others waiting; Python's own 5 ms are a third of a small network's batch."""
MOST_STREAMS = 4
"""choice: more threads of Python would wait for each other."""
MOST_BESIDE = 2
"""One batch that is read and one that is written."""


class Streams(NamedTuple):
    """Batches that are computed at the same time, each on cores of its own."""

    number: int
    threads: int
    """Of torch, in each."""
    beside: int
    """Further batches that are read or written meanwhile."""

    def start(self) -> None:
        """To be called in the thread of each stream."""
        torch.set_num_threads(self.threads)

    def batch_sizes(self, size: int, samples: int | None) -> Iterator[int]:
        """``size``, without end, but for the first and the last round of the streams.

        The first differ, so that streams do not all read, and later write, at the same time; what is left for a last
        round is shared out, so that no stream goes on alone.

        Args:
            samples: that are to come; None where nobody knows.
        """
        if self.number > 1 and (samples is None or samples >= 2 * size * self.number):
            first = [max(size * stream // self.number, 1) for stream in range(1, self.number + 1)]
            yield from first
            samples = None if samples is None else samples - sum(first)
        if samples is not None:
            rounds, rest = divmod(samples, size * self.number)
            yield from repeat(size, rounds * self.number)
            yield from repeat(max(-(-rest // self.number), 1), self.number)
        yield from repeat(size)


def plan_streams(estimator: Estimator, boxes: BoxSource | None, batches: int | None) -> Streams:
    """On a CPU several batches at once, on the threads that torch has; on a GPU one after the other.

    So no core waits at the end of each operation for another's half of it. A batch is read and written by the thread
    that computes it; only where there are more cores than streams do further threads read and write beside them.
    Overlays, which listen to the network, and a detector, a network larger than most, have torch's threads together.

    Args:
        batches: that are to come; None where nobody knows.
    """
    threads = torch.get_num_threads()
    if estimator.device.type != "cpu":
        return Streams(1, threads, MOST_BESIDE)
    number = min(MOST_STREAMS, threads, threads if batches is None else max(batches, 1))
    if estimator.overlay is not None or isinstance(boxes, TorchvisionDetector):
        number = 1
    return Streams(number, threads // number, min(MOST_BESIDE, max(usable_cores() - number, 0)))


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
