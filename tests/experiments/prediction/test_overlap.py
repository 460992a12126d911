import signal
import threading
import time
from collections.abc import Iterator
from itertools import repeat

import pytest

from experiments.prediction.overlap import ByItem, Group, grouped, see_through


class Noted:
    """Steps that note what they do, and how many do the same at a time."""

    def __init__(self, fails: tuple[str, int] | None = None) -> None:
        self.fails = fails
        self.now = dict.fromkeys(("take", "compute", "finish", "alive"), 0)
        self.most = dict(self.now)
        self.done: dict[str, list[int]] = {"take": [], "compute": [], "finish": []}
        self.begun: dict[str, list[int]] = {"take": [], "compute": [], "finish": []}
        self.threads: dict[int, set[int]] = {}
        self.lock = threading.Lock()

    def count(self, what: str, by: int) -> None:
        with self.lock:
            self.now[what] += by
            self.most[what] = max(self.most[what], self.now[what])

    def step(self, name: str, number: int) -> int:
        self.count(name, 1)
        self.begun[name].append(number)
        self.threads.setdefault(number, set()).add(threading.get_ident())
        time.sleep(0.003 if name == "compute" and number % 2 else 0.001)
        if self.fails == (name, number):
            self.count(name, -1)
            raise ValueError(f"{name} {number}")
        self.done[name].append(number)
        self.count(name, -1)
        return number

    def items(self, count: int) -> Iterator[int]:
        for number in range(count):
            self.count("alive", 1)
            yield self.step("take", number)

    def compute(self, number: int) -> int:
        return self.step("compute", number)

    def finish(self, number: int) -> None:
        self.step("finish", number)
        self.count("alive", -1)


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("beside", [0, 1, 2])
def test_all_are_finished_in_order_and_few_are_alive(at_once: int, beside: int) -> None:
    noted, started = Noted(), []
    options = {"at_once": at_once, "beside": beside}
    see_through(
        noted.items(30), noted.compute, noted.finish, **options, start=lambda: started.append(threading.get_ident())
    )
    assert noted.done["take"] == noted.done["finish"] == list(range(30))
    assert noted.begun["compute"] == list(range(30))
    assert noted.most["take"] == noted.most["finish"] == 1
    assert noted.most["compute"] <= at_once
    assert noted.most["alive"] <= at_once + beside
    assert all(len(threads) == 1 for threads in noted.threads.values())
    assert set().union(*noted.threads.values()) <= set(started)
    assert len(started) <= at_once + beside


def test_so_many_are_computed_at_the_same_time() -> None:
    all_three = threading.Barrier(3, timeout=10)
    see_through(iter(range(9)), lambda _: all_three.wait(), lambda _: None, at_once=3)


def test_others_are_taken_and_finished_while_one_is_computed() -> None:
    taken = [threading.Event() for _ in range(4)]
    finished = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number in range(4):
            taken[number].set()
            yield number

    def compute(number: int) -> int:
        assert number == 3 or taken[number + 1].wait(10)
        assert number == 0 or finished[number - 1].wait(10)
        return number

    see_through(items(), compute, lambda number: finished[number].set(), at_once=1, beside=2)
    assert finished[-1].is_set()


def test_nothing_is_computed_for_lack_of_items() -> None:
    see_through(iter([]), pytest.fail, pytest.fail, at_once=2, beside=1)


@pytest.mark.parametrize("step", ["take", "compute", "finish"])
@pytest.mark.parametrize(("at_once", "beside"), [(1, 0), (1, 2), (3, 0)])
def test_what_a_step_raises_is_raised_in_its_place_and_the_threads_end(step: str, at_once: int, beside: int) -> None:
    noted, threads = Noted((step, 5)), threading.active_count()
    with pytest.raises(ValueError, match=f"{step} 5"):
        see_through(noted.items(1000), noted.compute, noted.finish, at_once=at_once, beside=beside)
    assert noted.done["finish"] == [0, 1, 2, 3, 4]
    assert len(noted.done["take"]) <= 5 + at_once + beside
    assert threading.active_count() == threads


def test_a_step_that_raises_stop_iteration_does_not_pass_for_the_end() -> None:
    def compute(number: int) -> int:
        return next(iter(())) if number == 2 else number

    with pytest.raises(StopIteration):
        see_through(iter(range(5)), compute, lambda _: None, at_once=1)


def test_after_an_interrupt_what_is_being_finished_is_finished() -> None:
    begun, done, threads = [], [], threading.active_count()

    def compute(number: int) -> int:
        time.sleep(0.01)  # until then all threads are there
        return number

    def finish(number: int) -> None:
        begun.append(number)
        if number == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.2)
        done.append(number)

    with pytest.raises(KeyboardInterrupt):
        see_through(iter(range(1000)), compute, finish, at_once=2, beside=1)
    assert begun == done == [0, 1, 2, 3]
    assert threading.active_count() == threads


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_samples_in_groups_come_back_to_their_items(size: int) -> None:
    items = [("a", [1, 2, 3]), ("b", []), ("c", [4]), ("d", []), ("e", [5, 6]), ("f", [])]
    groups = list(grouped(items, repeat(size)))
    assert [sample for group in groups for sample in group.samples] == [1, 2, 3, 4, 5, 6]
    assert [len(group.samples) for group in groups if group.samples][:-1] == [size] * (-(-6 // size) - 1)
    by_item = ByItem[str, int]()
    found = [done for group in groups for done in by_item.add(group.begun, [-sample for sample in group.samples])]
    assert found == [(name, [-sample for sample in samples]) for name, samples in items]


def test_an_item_without_samples_is_a_group_without_samples() -> None:
    assert list(grouped([("b", [])], repeat(4))) == [Group([("b", 0)], [])]
    assert list(ByItem[str, int]().add([("b", 0)], [])) == [("b", [])]
    assert list(grouped([], repeat(4))) == []


def test_an_item_is_done_with_its_last_group_not_with_the_next() -> None:
    made = []

    def items() -> Iterator[tuple[int, list[int]]]:
        for number in range(4):
            made.append(number)
            yield number, [number]

    by_item = ByItem[int, int]()
    for group in grouped(items(), repeat(1)):
        assert [done for done, _ in by_item.add(group.begun, group.samples)] == [made[-1]]
