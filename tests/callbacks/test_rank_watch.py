"""Who is named, from what the ranks reported. That real processes are ended is tested with the runner."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
from lightning_fabric.strategies.launchers.subprocess_script import _ChildProcessObserver

from callbacks import rank_watch
from callbacks.rank_watch import RankWatch, Report, _place_of


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Rank 0 of three; ``watch.answers`` are the reports it reads, one reading after the other."""
    monkeypatch.setattr(rank_watch.time, "sleep", lambda seconds: None)
    made: Any = RankWatch(patience=10)
    made._store, made._ranks, made.answers = object(), 3, []
    monkeypatch.setattr(made, "_reports", lambda: made.answers.pop(0))
    made.beats = []
    monkeypatch.setattr(made, "_report", lambda: made.beats.append(1))
    return made


def report(beat: int = 1, moves: int = 7, *, at: str = "step 4", waits: bool = True) -> Report:
    return Report(beat, moves, 12.3, at, "process 9 on node3", "photographs.py:44 (read)", waits)


def alive(**others: Report) -> list[dict[int, Report]]:
    reports = {0: report(), 1: report(), 2: report()} | {int(key[1:]): value for key, value in others.items()}
    return [reports, {rank: value._replace(beat=value.beat + 1) for rank, value in reports.items()}]


def test_the_rank_behind(watch: Any) -> None:
    watch.answers = alive(r1=report(moves=6, at="step 3"))
    assert watch.diagnose() == (
        "rank 1 (process 9 on node3) has been at step 3 for 12 s, in photographs.py:44 (read); "
        "the others, at step 4, wait for it"
    )


def test_the_rank_that_is_not_in_the_collective(watch: Any) -> None:
    watch.answers = alive(r2=report(waits=False))
    assert watch.diagnose().startswith("rank 2 (process 9 on node3) has been at step 4 for 12 s, in photographs.py:44")


def test_a_rank_that_has_ended_and_one_that_never_began(watch: Any) -> None:
    first, second = alive()
    second[1] = first[1]
    del second[2]
    watch.answers = [first, second]
    assert watch.diagnose() == ("rank 1 (process 9 on node3) has ended, last seen at step 4, rank 2 has never reported")


def test_rank_0_or_the_network(watch: Any) -> None:
    watch.answers = [None, None]
    assert watch.diagnose() == "rank 0 has ended"
    watch.answers = alive()
    assert watch.diagnose() == "all ranks are at step 4: the network between them may be at fault"
    assert watch.beats  # it goes on reporting: others may be asking too


def test_own_children_are_asked_directly(watch: Any) -> None:
    watch._children = [subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])]
    watch._children[0].wait()
    watch.answers = alive()
    assert watch.diagnose() == f"rank 1 (process {watch._children[0].pid}) has ended with SIGKILL, last seen at step 4"


def test_a_dead_child_is_named_before_lightning_ends_everybody(watch: Any, monkeypatch: Any, capsys: Any) -> None:
    watch._children = [subprocess.Popen([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])]
    watch._children[0].wait()
    everybody = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    observer = _ChildProcessObserver(everybody.pid, watch._children)
    monkeypatch.setattr(rank_watch.threading, "enumerate", lambda: [threading.main_thread(), observer])
    slept: list[float] = []
    monkeypatch.setattr(rank_watch.time, "sleep", slept.append)
    watch._delay_the_end()
    watch.answers = alive()
    assert observer._run()
    assert everybody.wait(timeout=30) == -signal.SIGKILL
    assert max(slept) == rank_watch.GRACE
    named = f"error: rank 1 (process {watch._children[0].pid}) has ended with SIGKILL, last seen at step 4\n"
    assert capsys.readouterr().err == named


def test_only_failed_collectives_are_explained(watch: Any) -> None:
    watch.answers = alive(r0=report(waits=False), r1=report(waits=False))  # rank 0 has just left it, by this error
    error = RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234. More")
    explained = str(watch.explain(error))
    assert explained.startswith(
        "rank 1 (process 9 on node3) has been at step 4 for 12 s, in photographs.py:44 (read); "
    )
    assert explained.endswith(
        "; the collective of rank 0 said: [/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234"
    )
    assert watch.explain(RuntimeError("CUDA out of memory")) is None
    assert watch.explain(ValueError("gloo")) is None
    assert RankWatch(patience=1).explain(error) is None  # one process
    never = RuntimeError("Timed out after 41 seconds waiting for clients. 1/2 clients joined.")
    assert str(RankWatch(patience=1).explain(never)).startswith("only 1 of 2 ranks came within trainer.ddp_timeout; ")


def test_the_place_of_a_thread() -> None:
    holds, inside = threading.Event(), threading.Event()

    def somewhere() -> None:
        inside.set()
        holds.wait()

    thread = threading.Thread(target=somewhere)
    thread.start()
    inside.wait()
    try:
        place, is_waiting = _place_of(thread.ident)
    finally:
        holds.set()
        thread.join()
    assert place.startswith("test_rank_watch.py:")
    assert place.endswith("(wait)")
    assert not is_waiting
