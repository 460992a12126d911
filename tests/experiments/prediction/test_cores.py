import sys
import threading
from itertools import islice
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch

from experiments.prediction.boxes import TorchvisionDetector, whole_image
from experiments.prediction.cores import MOST_BESIDE, MOST_STREAMS, SWITCH_SECONDS, Streams, plan_streams, shared_cores


def estimator(device: str = "cpu", overlay: Any = None) -> Any:
    return SimpleNamespace(device=torch.device(device), overlay=overlay)


@pytest.mark.parametrize(
    ("threads", "cores", "batches", "expected"),
    [
        (1, 1, None, (1, 1, 0)),
        (1, 2, None, (1, 1, 1)),
        (2, 2, None, (2, 1, 0)),
        (2, 2, 1, (1, 2, 1)),
        (2, 2, 0, (1, 2, 1)),
        (3, 3, 2, (2, 1, 1)),
        (8, 16, 75, (MOST_STREAMS, 2, MOST_BESIDE)),
        (16, 16, 75, (MOST_STREAMS, 4, MOST_BESIDE)),
    ],
)
def test_streams_take_the_threads_of_torch_and_others_the_cores_that_are_left(
    monkeypatch: pytest.MonkeyPatch, threads: int, cores: int, batches: int | None, expected: tuple[int, ...]
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr("experiments.prediction.cores.usable_cores", lambda: cores)
    assert plan_streams(estimator(), None, batches) == expected
    assert plan_streams(estimator(), whole_image, batches) == expected
    assert plan_streams(estimator("cuda"), None, batches) == (1, threads, MOST_BESIDE)
    alone = (1, threads, min(MOST_BESIDE, cores - 1))
    assert plan_streams(estimator(overlay=print), None, batches) == alone
    detector = object.__new__(TorchvisionDetector)
    assert plan_streams(estimator(), detector, batches) == alone


def test_threads_are_as_before_when_streams_are_done() -> None:
    before, of_opencv, interval = torch.get_num_threads(), cv2.getNumThreads(), sys.getswitchinterval()
    try:
        torch.set_num_threads(3)
        cv2.setNumThreads(2)
        with shared_cores():
            assert cv2.getNumThreads() == 1
            assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
            seen: list[int] = []
            streams = plan_streams(estimator(), None, None)
            threads = [
                threading.Thread(target=lambda: (streams.start(), seen.append(torch.get_num_threads())))
                for _ in range(streams.number)
            ]
            for thread in threads:
                thread.start()
                thread.join()
            assert seen == [streams.threads] * 3 == [1, 1, 1]
            assert torch.get_num_threads() == 3  # of this thread
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (3, 2)
        assert sys.getswitchinterval() == interval
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [3]
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(of_opencv)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("samples", [0, 1, 5, 16, 17, 48, 300])
def test_no_stream_is_left_with_more_than_another(number, samples):
    left, sizes = samples, []
    for size in Streams(number, 1, 0).batch_sizes(8, samples):
        if left <= 0:
            break
        sizes.append(min(size, left))
        left -= size
    assert sum(sizes) == samples
    staggered = number if number > 1 and samples >= 16 * number else 0
    whole = (samples - sum(sizes[:staggered])) // (8 * number) * number
    assert sizes[staggered : staggered + whole] == [8] * whole
    shared = sizes[staggered + whole :]
    assert len(shared) <= number
    assert max(shared, default=0) == -(-sum(shared) // number)


def test_streams_begin_with_different_sizes():
    assert list(islice(Streams(2, 1, 0).batch_sizes(8, 300), 4)) == [4, 8, 8, 8]
    assert list(islice(Streams(4, 1, 0).batch_sizes(8, None), 6)) == [2, 4, 6, 8, 8, 8]
    assert list(islice(Streams(4, 1, 0).batch_sizes(2, None), 6)) == [1, 1, 1, 2, 2, 2]
    assert list(islice(Streams(1, 4, 2).batch_sizes(8, 300), 3)) == [8, 8, 8]


def test_batches_go_on_where_more_comes_than_was_said():
    assert list(islice(Streams(2, 1, 0).batch_sizes(8, 20), 6)) == [8, 8, 2, 2, 8, 8]
