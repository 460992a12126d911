"""Progress of commands: a bar in a terminal, few lines in a log."""

import io

from rich.console import Console

from experiments import progress
from experiments.progress import Line


def test_a_total_may_come_late_and_a_unit_is_named():
    screen = io.StringIO()
    with Line(
        None, Console(file=screen, width=80, force_terminal=True), what="val2017: checking", unit="crops"
    ) as line:
        assert line.bar is not None
        assert line.bar.tasks[0].description.strip() == "val2017: checking"
        line.show_of(3, 12)
        assert line.bar.tasks[0].total == 12
        assert line.bar.tasks[0].description.startswith("val2017: checking  3/12 crops  ")


def test_time_runs_from_the_beginning_where_none_is_given(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    log = io.StringIO()
    with Line(200, Console(file=log, width=80)) as line:
        for images in range(1, 101):
            now[0] += 0.5
            line.show(images)
    assert log.getvalue() == "60/200 images  2.0 images/s\n"
