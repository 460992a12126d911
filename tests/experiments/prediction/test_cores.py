import sys
import threading
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch

from experiments.prediction.cores import MOST_STREAMS, SWITCH_SECONDS, plan_streams, shared_cores


def estimator(device: str = "cpu", overlay: Any = None) -> Any:
    return SimpleNamespace(device=torch.device(device), overlay=overlay)


@pytest.mark.parametrize(
    ("threads", "batches", "expected"),
    [(1, None, (1, 1)), (2, None, (2, 1)), (2, 1, (1, 2)), (2, 0, (1, 2)), (3, 2, (2, 1)), (16, 75, (MOST_STREAMS, 4))],
)
def test_streams_take_the_threads_of_torch_and_no_more_than_there_are_batches(
    monkeypatch: pytest.MonkeyPatch, threads: int, batches: int | None, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert plan_streams(estimator(), batches) == expected
    assert plan_streams(estimator("cuda"), batches) == (1, threads)
    assert plan_streams(estimator(overlay=print), batches) == (1, threads)


def test_threads_are_as_before_when_streams_are_done() -> None:
    before, of_opencv, interval = torch.get_num_threads(), cv2.getNumThreads(), sys.getswitchinterval()
    try:
        torch.set_num_threads(3)
        cv2.setNumThreads(2)
        with shared_cores():
            assert cv2.getNumThreads() == 1
            assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
            seen: list[int] = []
            streams = plan_streams(estimator(), None)
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
