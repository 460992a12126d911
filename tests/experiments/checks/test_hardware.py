import os
from pathlib import Path

import pytest

from experiments.checks import hardware
from experiments.checks.finding import State


def test_a_containers_quota_limits_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    quota = tmp_path / "cpu.max"
    quota.write_text("max 100000")
    assert hardware.processors(4, quota).state is State.ok
    quota.write_text("250000 100000")
    limited = hardware.processors(4, quota)
    assert limited.state is State.absent
    assert "2.5 of" in limited.found
    assert limited.fix == "data.num_workers=1"
    assert "16 of" in hardware.processors(4, tmp_path / "none").found


def test_shared_memory_and_disk_against_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware.shared_memory(1, tmp_path).state is State.ok
    short = hardware.shared_memory(2**60, tmp_path)
    assert short.state is State.wrong
    assert "--shm-size=1073741824g" in str(short.fix)
    assert hardware.shared_memory(1, tmp_path / "none").state is State.absent
    monkeypatch.setattr(hardware, "DISK_NEEDED", 1)
    assert hardware.disk(tmp_path / "a" / "b").state is State.ok
    monkeypatch.setattr(hardware, "DISK_NEEDED", 2**60)
    assert hardware.disk(tmp_path).state is State.wrong


def test_two_ranks_sum_and_a_transport_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware._sum_over_gloo() == "two ranks summed over a socket"

    def refuse(*arguments: object) -> None:
        raise RuntimeError("unresolvable\nwith details")

    monkeypatch.setattr("torch.distributed.ProcessGroupGloo", refuse)
    found = hardware.collectives()[0]
    assert (found.name, found.state, found.found) == ("gloo", State.wrong, "unresolvable")


def test_a_driver_that_torch_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    gpu, bf16 = hardware.graphics()
    assert (gpu.state, bf16.state) == (State.absent, State.ok)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi")
    assert hardware.graphics()[0].state is State.wrong
