import threading
import time
from collections.abc import Iterator
from itertools import repeat

import pytest

from experiments.prediction.overlap import Behind, Group, ahead, by_item, grouped, in_order


def test_ahead_keeps_order_and_distance() -> None:
    made = []

    def produce() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    distances = []
    for number in ahead(produce(), 3):
        time.sleep(0.002)
        distances.append(len(made) - number)
    assert made == list(range(20))
    assert max(distances) <= 3 + 2  # those waiting, the one in the producer's hand, and ours


def test_ahead_raises_in_place_and_stops_with_its_consumer() -> None:
    closed = threading.Event()

    def produce(fails_at: int | None) -> Iterator[int]:
        try:
            for number in range(1000):
                if number == fails_at:
                    raise ValueError("the third")
                yield number
        finally:
            closed.set()

    stream = ahead(produce(3), 2)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(stream)
    closed.clear()
    threads = threading.active_count()
    stream = ahead(produce(None), 2)
    assert next(stream) == 0
    stream.close()
    assert closed.is_set()
    assert threading.active_count() == threads


def test_behind_takes_all_in_order_and_never_lags_more() -> None:
    taken: list[int] = []
    lags = []

    def take(number: int) -> None:
        time.sleep(0.002)
        taken.append(number)

    with Behind(take, 3) as behind:
        for number in range(20):
            behind.put(number)
            lags.append(number - len(taken))
    assert taken == list(range(20))
    assert max(lags) <= 3 + 1


def test_what_the_thread_raises_is_raised_and_nobody_waits() -> None:
    def take(number: int) -> None:
        raise OSError("disk full")

    def give(many: int, error: Exception | None = None) -> None:
        with Behind(take, 1) as behind:
            for number in range(many):
                behind.put(number)
            if error:
                raise error

    with pytest.raises(OSError, match="disk full"):
        give(100)
    with pytest.raises(KeyError):  # why the block was left goes first
        give(0, KeyError("earlier"))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_samples_in_groups_come_back_to_their_items(size: int) -> None:
    items = [("a", [1, 2, 3]), ("b", []), ("c", [4]), ("d", []), ("e", [5, 6]), ("f", [])]
    groups = list(grouped(items, repeat(size)))
    assert [sample for group in groups for sample in group.samples] == [1, 2, 3, 4, 5, 6]
    assert [len(group.samples) for group in groups if group.samples][:-1] == [size] * (-(-6 // size) - 1)
    found = list(by_item((group.begun, [-sample for sample in group.samples]) for group in groups))
    assert found == [(name, [-sample for sample in samples]) for name, samples in items]


def test_an_item_without_samples_is_a_group_without_samples() -> None:
    assert list(grouped([("b", [])], repeat(4))) == [Group([("b", 0)], [])]
    assert list(by_item([([("b", 0)], [])])) == [("b", [])]
    assert list(grouped([], repeat(4))) == []


def test_an_item_is_done_with_its_last_group_not_with_the_next() -> None:
    made = []

    def items() -> Iterator[tuple[int, list[int]]]:
        for number in range(4):
            made.append(number)
            yield number, [number]

    for done, _ in by_item((group.begun, group.samples) for group in grouped(items(), repeat(1))):
        assert made[-1] == done


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_streams_keep_the_order_and_begin_little_ahead(streams: int) -> None:
    begun: list[int] = []
    started: list[str] = []

    def compute(number: int) -> int:
        begun.append(number)
        time.sleep(0.004 if number % 2 else 0.001)
        return -number

    distances = []
    stream = in_order(range(20), compute, streams, lambda: started.append(threading.current_thread().name))
    for number, result in enumerate(stream):
        assert result == -number
        distances.append(len(begun) - number)
    assert max(distances) <= streams + 1
    assert len(set(started)) == len(started) == streams


def test_streams_compute_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)
    assert list(in_order(range(6), lambda number: (both.wait(), number)[1], 2)) == list(range(6))


@pytest.mark.parametrize("streams", [1, 2])
def test_a_stream_computes_while_the_consumer_is_busy(streams: int) -> None:
    begun = [threading.Event() for _ in range(4)]
    for number in in_order(range(4), lambda number: (begun[number].set(), number)[1], streams):
        if number < 3:
            assert begun[number + 1].wait(10)


def test_what_a_stream_raises_is_raised_in_its_place_and_its_threads_end() -> None:
    def compute(number: int) -> int:
        if number == 3:
            raise ValueError("the third")
        return number

    threads = threading.active_count()
    stream = in_order(range(1000), compute, 2)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(stream)
    stream = in_order(range(1000), compute, 2)
    assert next(stream) == 0
    stream.close()
    assert threading.active_count() == threads
