"""Stages that run at the same time, with a bounded number of things between them: memory stays flat."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")

_END = object()
_PATIENCE = 0.1
"""Seconds between two looks at whether the other side is still there."""


def ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
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


class Group(NamedTuple, Generic[T, S]):
    """Samples to be computed at once."""

    begun: list[tuple[T, int]]
    """The items that came with them, in order, and how many samples each has; the last may go on in the next group."""
    samples: list[S]


def grouped(items: Iterable[tuple[T, Sequence[S]]], sizes: Iterable[int]) -> Iterator[Group[T, S]]:
    """The samples of all items, as many at a time as ``sizes`` say, which do not end before them.

    A group may hold the end of one item and the beginning of the next; an item may have no sample. The last group is
    smaller, or empty where only items without samples are left.
    """
    following = iter(sizes)
    size = next(following)
    begun: list[tuple[T, int]] = []
    waiting: list[S] = []
    for item, samples in items:
        begun.append((item, len(samples)))
        waiting.extend(samples)
        while len(waiting) >= size:
            yield Group(begun, waiting[:size])
            begun, waiting = [], waiting[size:]
            size = next(following)
    if begun or waiting:
        yield Group(begun, waiting)


def by_item(computed: Iterable[tuple[list[tuple[T, int]], Sequence[R]]]) -> Iterator[tuple[T, list[R]]]:
    """Each item with the results of its own samples, in order: the inverse of ``grouped``.

    Args:
        computed: ``begun`` and the results of each group.
    """
    pending: deque[tuple[T, int]] = deque()
    results: deque[R] = deque()
    for begun, found in computed:
        pending.extend(begun)
        results.extend(found)
        while pending and pending[0][1] <= len(results):
            item, count = pending.popleft()
            yield item, [results.popleft() for _ in range(count)]


def in_order(
    items: Iterable[T], compute: Callable[[T], R], streams: int, start: Callable[[], object] = lambda: None
) -> Generator[R, None, None]:
    """``compute`` of each item, in order, by ``streams`` threads; at most ``streams + 1`` are begun and not yielded.

    So a thread has its next item while the consumer is busy with the last.

    Args:
        start: called once in each thread.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(streams, initializer=start) as pool:
        try:
            for item in items:
                pending.append(pool.submit(compute, item))
                if len(pending) > streams:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
