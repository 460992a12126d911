"""The stages overlap: what takes longest decides, and little waits in between."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from experiments.prediction import session
from experiments.prediction.inputs import Kind, Picture, Source
from experiments.prediction.people import People

VIDEO = Source(Kind.video, Path("clip.avi"))
READ, COMPUTE, WRITE = 0.004, 0.010, 0.006


class Slow:
    """An estimator, and a writer, that wait as if something else computed."""

    def __init__(self) -> None:
        self.num_people = 0
        self.alive = self.most_alive = 0

    def make_samples(self, pixels: np.ndarray, image_id: int, corners: Any, scores: Any) -> list[int]:
        return [image_id]

    def __call__(self, samples: list[int]) -> list[People]:
        time.sleep(COMPUTE * len(samples))
        return [People(np.zeros((0, 17, 3), np.float32), np.zeros(0, np.float32), None, None) for _ in samples]

    def merge(self, parts: list[People]) -> People:
        return parts[0]

    def __enter__(self) -> "Slow":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, picture: Picture, people: People, boxes: None) -> None:
        time.sleep(WRITE)
        self.num_people += 1
        self.alive -= 1


@pytest.mark.parametrize("batch_size", [1, 4])
def test_reading_and_writing_cost_nothing_beside_a_slower_model(
    monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    both, count = Slow(), 60

    def read(*given: Any, **options: Any) -> Any:
        for number in range(count):
            time.sleep(READ)
            both.alive += 1
            both.most_alive = max(both.most_alive, both.alive)
            yield Picture(number, f"clip.avi#{number}", VIDEO, np.zeros((2, 2, 3), np.uint8), number, 10.0)

    monkeypatch.setattr(session, "read_pictures", read)
    monkeypatch.setattr(session, "count_pictures", lambda *given: count)
    outcome = session.run(both, [VIDEO], None, both, batch_size=batch_size)  # type: ignore[arg-type]
    assert (outcome.images, outcome.people, outcome.faults) == (count, count, [])
    in_turn = count * (READ + COMPUTE + WRITE)
    assert outcome.seconds < (count * COMPUTE + in_turn) / 2
    assert both.most_alive <= 2 * session.DEPTH + 2 * batch_size + 4


def test_a_log_gets_a_line_now_and_then_and_a_terminal_a_bar() -> None:
    log = io.StringIO()
    with session.Line(200, Console(file=log, width=80)) as line:
        for images in range(1, 101):
            line.show(images, float(images))
    assert log.getvalue().splitlines() == [f"{n}/200 images  1.0 images/s" for n in (30, 60, 90)]
    screen = io.StringIO()
    with session.Line(None, Console(file=screen, width=80, force_terminal=True)) as line:
        line.show(3, 1.5)
        assert line.bar is not None
        assert line.bar.tasks[0].description == "3/? images  2.0 images/s"
