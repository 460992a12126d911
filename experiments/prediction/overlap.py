"""Reading, computing and writing at the same time, with a bounded number of things alive: memory stays flat."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")

_END: Any = object()


def see_through(
    items: Iterator[T],
    compute: Callable[[T], R],
    finish: Callable[[R], object],
    *,
    at_once: int,
    beside: int = 0,
    start: Callable[[], object] = lambda: None,
) -> None:
    """Take, compute and finish each item, in ``at_once + beside`` threads that each do all three of one item.

    All steps begin in the order of the items; one thread at a time takes, and one finishes, while ``at_once`` compute.
    Where there are as many threads as cores none waits for a core, and an item stays in the caches of its own.

    What a step raises is raised here once all items before are finished; then, as after an interrupt, what is being
    finished is, and no other item.

    Args:
        items: its ``next`` is called by several threads, in turn.
        at_once: items that are computed at the same time.
        beside: further items that are taken or finished meanwhile.
        start: called once in each thread.
    """
    passage = _Passage(items, compute, finish, at_once)
    with ThreadPoolExecutor(at_once + beside, initializer=start) as pool:
        try:
            threads = [pool.submit(passage.go) for _ in range(at_once + beside)]
            for thread in threads:
                thread.result()
        finally:
            passage.stop()


class _Closed(Exception):
    """Nothing goes on any more."""


class _Gate:
    """Lets items in by their number, one after the other, and so many at a time."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.entered = self.inside = 0
        self.is_closed = False
        self.changed = threading.Condition()

    @contextmanager
    def let_in(self, number: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.is_closed or (self.entered == number and self.inside < self.width))
            if self.is_closed:
                raise _Closed
            self.entered += 1
            self.inside += 1
            self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                self.inside -= 1
                self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()


class _Passage(Generic[T, R]):
    def __init__(
        self, items: Iterator[T], compute: Callable[[T], R], finish: Callable[[R], object], at_once: int
    ) -> None:
        self.items, self.compute, self.finish = items, compute, finish
        self.taking, self.taken = threading.Lock(), 0
        self.computing, self.finishing = _Gate(at_once), _Gate(1)

    def go(self) -> None:
        with suppress(_Closed):
            while self._see_one_through():
                pass

    def stop(self) -> None:
        self.computing.close()
        self.finishing.close()

    def _see_one_through(self) -> bool:
        """Whether there was one."""
        failure: BaseException | None = None
        try:
            with self.taking:
                if self.finishing.is_closed:
                    return False
                number = self.taken
                self.taken += 1
                item = next(self.items, _END)
            if item is _END:
                return False
            with self.computing.let_in(number):
                result = self.compute(item)
        except _Closed:
            raise
        except BaseException as error:  # told to the caller in its turn
            failure = error
        with self.finishing.let_in(number):
            try:
                if failure is not None:
                    raise failure
                self.finish(result)
            except BaseException:
                self.stop()
                raise
        return True


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


class ByItem(Generic[T, R]):
    """Gives each item the results of its own samples, in order: the inverse of ``grouped``."""

    def __init__(self) -> None:
        self.pending: deque[tuple[T, int]] = deque()
        self.results: deque[R] = deque()

    def add(self, begun: Iterable[tuple[T, int]], found: Iterable[R]) -> Iterator[tuple[T, list[R]]]:
        """The items that are complete with these.

        Args:
            begun: of the next group.
            found: the results of its samples.
        """
        self.pending.extend(begun)
        self.results.extend(found)
        while self.pending and self.pending[0][1] <= len(self.results):
            item, count = self.pending.popleft()
            yield item, [self.results.popleft() for _ in range(count)]
