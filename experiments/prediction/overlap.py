"""Stages that run at the same time, with a bounded number of things between them: memory stays flat."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")

_END = object()
_PATIENCE = 0.1
"""Seconds between two looks at whether the other side is still there."""


def ahead(items: Iterable[T], depth: int) -> Iterator[T]:
    """``items``, produced by a thread at most ``depth`` ahead. What it raises is raised here, in its place.

    A consumer that stops early ends the thread.
    """
    waiting: queue.Queue[Any] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(item: Any) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_PATIENCE)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        failure: BaseException | None = None
        iterator = iter(items)
        try:
            while not stopped.is_set():
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                if not offer((item, None)):
                    break
        except BaseException as error:  # told to the consumer
            failure = error
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
        offer((_END, failure))

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while True:
            item, failure = waiting.get()
            if failure is not None:
                raise failure
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


class Behind(Generic[T]):
    """A thread that takes what is given to it, in order, at most ``depth`` behind. A context manager.

    Leaving it waits until all is taken. What ``take`` raises is raised by the next ``put``, or at the end.
    """

    def __init__(self, take: Callable[[T], None], depth: int) -> None:
        self.take = take
        self.waiting: queue.Queue[Any] = queue.Queue(depth)
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Behind[T]:
        self.thread.start()
        return self

    def put(self, item: T) -> None:
        self._check()
        self.waiting.put(item)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.waiting.put(_END)
        self.thread.join()
        if error is None:
            self._check()

    def _run(self) -> None:
        while (item := self.waiting.get()) is not _END:
            if self.failure is None:  # after a failure the rest is only taken off, so that nobody waits
                try:
                    self.take(item)
                except BaseException as error:
                    self.failure = error

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure


def in_batches(
    items: Iterable[tuple[T, Sequence[S]]], compute: Callable[[list[S]], Sequence[R]], size: int
) -> Iterator[tuple[T, list[R]]]:
    """Each item with the results of its own samples, in order, the samples computed ``size`` at a time.

    A batch may hold the end of one item and the beginning of the next; an item may have no sample.
    """
    pending: deque[tuple[T, int, list[R]]] = deque()
    waiting: list[S] = []
    owners: list[list[R]] = []

    def run() -> None:
        batch = waiting[:size]
        for owner, result in zip(owners[:size], compute(batch), strict=True):
            owner.append(result)
        del waiting[:size], owners[:size]

    for item, samples in items:
        results: list[R] = []
        pending.append((item, len(samples), results))
        waiting.extend(samples)
        owners.extend([results] * len(samples))
        while len(waiting) >= size:
            run()
        while pending and len(pending[0][2]) == pending[0][1]:
            done, _, finished = pending.popleft()
            yield done, finished
    if waiting:
        run()
    for item, _, results in pending:
        yield item, results
