"""The stages overlap, and little waits in between."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from experiments.prediction import session
from experiments.prediction.cores import Streams
from experiments.prediction.inputs import Kind, Picture, Source
from experiments.prediction.people import People
from experiments.progress import Line

VIDEO = Source(Kind.video, Path("clip.avi"))
READ, COMPUTE, WRITE = 0.004, 0.010, 0.006


class Slow:
    """An estimator, and a writer, that wait as if something else computed, and note when."""

    def __init__(self) -> None:
        self.num_people = self.num_drawn = 0
        self.alive = self.most_alive = 0
        self.device, self.overlay = torch.device("cpu"), None
        self.spans: dict[str, list[tuple[float, float]]] = {"read": [], "compute": [], "write": []}

    def wait(self, stage: str, seconds: float) -> None:
        start = time.monotonic()
        time.sleep(seconds)
        self.spans[stage].append((start, time.monotonic()))

    def read(self, count: int) -> Iterator[Picture]:
        for number in range(count):
            self.wait("read", READ)
            self.alive += 1
            self.most_alive = max(self.most_alive, self.alive)
            yield Picture(number, f"clip.avi#{number}", VIDEO, np.zeros((2, 2, 3), np.uint8), number, 10.0)

    def make_samples(self, pixels: np.ndarray, image_id: int, corners: Any, scores: Any) -> list[int]:
        return [image_id]

    def prepare(self, samples: list[int]) -> list[int]:
        return samples

    def compute(self, samples: list[int]) -> list[People]:
        self.wait("compute", COMPUTE * len(samples))
        return [People(np.zeros((0, 17, 3), np.float32), *np.zeros((2, 0), np.float32), None, None) for _ in samples]

    def merge(self, parts: list[People]) -> People:
        return parts[0]

    def __enter__(self) -> "Slow":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, picture: Picture, people: People, boxes: None) -> None:
        self.wait("write", WRITE)
        self.num_people += 1
        self.alive -= 1


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(("number", "beside"), [(1, 1), (1, 2), (2, 0), (2, 2)])
def test_reading_and_writing_go_on_while_the_model_computes(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, number: int, beside: int
) -> None:
    both, count = Slow(), 48
    monkeypatch.setattr(session, "read_pictures", lambda *given, **options: both.read(count))
    monkeypatch.setattr(session, "count_pictures", lambda *given: count)
    monkeypatch.setattr(session, "plan_streams", lambda *given: Streams(number, 1, beside))
    outcome = session.run(both, [VIDEO], None, both, batch_size=batch_size)
    assert (outcome.images, outcome.people, outcome.faults) == (count, count, [])
    in_turn = sum(end - start for spans in both.spans.values() for start, end in spans)
    assert outcome.seconds <= 0.8 * in_turn
    if beside:
        first, last = 2 * (number + beside) * batch_size, -2 * (number + beside) * batch_size
        for stage, spans in (("read", both.spans["read"][first:]), ("write", both.spans["write"][:last])):
            meanwhile = sum(overlaps(span, both.spans["compute"]) for span in spans)
            assert meanwhile >= 0.7 * len(spans), stage
    assert both.most_alive <= (number + beside) * batch_size


def overlaps(span: tuple[float, float], others: list[tuple[float, float]]) -> bool:
    return any(span[0] < end and start < span[1] for start, end in others)


def test_a_log_gets_a_line_now_and_then_and_a_terminal_a_bar() -> None:
    log = io.StringIO()
    with Line(200, Console(file=log, width=80)) as line:
        for images in range(1, 101):
            line.show(images, float(images))
    assert log.getvalue().splitlines() == [f"{n}/200 images  1.0 images/s" for n in (30, 60, 90)]
    screen = io.StringIO()
    with Line(None, Console(file=screen, width=80, force_terminal=True)) as line:
        line.show(3, 1.5)
        assert line.bar is not None
        assert line.bar.tasks[0].description == "3/? images  2.0 images/s"
