"""The lines of start-up, and others' commands where they are installed."""

import pytest

from experiments.benchmarks import start_up
from experiments.benchmarks.measuring import Setting
from experiments.benchmarks.others import Other


@pytest.mark.parametrize("others", [{}, {"quick": 40.0, "slow": 90.0}])
def test_the_quickest_of_others_is_the_peer(others, monkeypatch) -> None:
    took = {"experiments.run": 30.0, "experiments.data": 20.0}
    monkeypatch.setattr(start_up, "COMMANDS", tuple(took))
    monkeypatch.setattr(start_up, "processor_time", lambda arguments: took.get(arguments[1], 900.0))
    monkeypatch.setattr(start_up, "first_step", lambda paper: 5000.0)
    runs = {name: Other("json", lambda time=time: lambda: time) for name, time in others.items()}
    monkeypatch.setattr(start_up, "OTHERS", runs or {"Absent": Other("no_such_package", dict)})
    help_, step = start_up.lines(Setting())
    assert (help_.ours, help_.naive, help_.peers) == (30, 900, others)
    assert help_.peer == (40 if others else None)
    assert (step.ours, step.limit, step.against) == (5000, 20000, "limit")
    assert help_.unexplained == step.unexplained == []


@pytest.mark.parametrize("name", start_up.OTHERS)
def test_others_say_what_they_are(name, monkeypatch) -> None:
    pytest.importorskip(start_up.OTHERS[name].package, reason=f"{name} is not installed: make bench-peers")
    assert start_up.OTHERS[name].make()() > 0
