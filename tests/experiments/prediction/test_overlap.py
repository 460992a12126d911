import threading
import time
from collections.abc import Iterator

import pytest

from experiments.prediction.overlap import Behind, ahead, in_batches


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
    stream.close()  # type: ignore[attr-defined]
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
def test_samples_in_batches_come_back_to_their_items(size: int) -> None:
    batches: list[list[int]] = []

    def compute(samples: list[int]) -> list[int]:
        batches.append(samples)
        return [-sample for sample in samples]

    items = [("a", [1, 2, 3]), ("b", []), ("c", [4]), ("d", []), ("e", [5, 6])]
    found = list(in_batches(items, compute, size))
    assert found == [(name, [-sample for sample in samples]) for name, samples in items]
    assert [sample for batch in batches for sample in batch] == [1, 2, 3, 4, 5, 6]
    assert all(len(batch) == size for batch in batches[:-1])
    assert list(in_batches([("b", [])], compute, size)) == [("b", [])]
