"""The requeue, with a stand-in for scontrol; a real SLURM is asked in ``tests/slurm``."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from experiments.training import slurm


@pytest.fixture
def scontrol(monkeypatch: pytest.MonkeyPatch):
    """``scontrol(returncode, stderr)`` is how it answers; the list it returns holds the commands given."""
    for name in ("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)

    def answer(returncode: int = 0, stderr: str = "", error: Exception | None = None) -> list[list[str]]:
        commands: list[list[str]] = []

        def run(command: list[str], **_: Any) -> Any:
            commands.append(command)
            if error is not None:
                raise error
            return subprocess.CompletedProcess(command, returncode, "", stderr)

        monkeypatch.setattr(subprocess, "run", run)
        return commands

    return answer


def test_a_job_and_a_task_of_an_array_are_requeued(scontrol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = scontrol()
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert slurm.requeue() == "SLURM job 17 is requeued"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert slurm.end_interrupted_task(is_first=True) == "SLURM job 12_3 is requeued"
    assert commands == [["scontrol", "requeue", "17"], ["scontrol", "requeue", "12_3"]]


def test_what_cannot_be_requeued_is_told(scontrol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    scontrol(1, "Requested operation is\npresently disabled")
    said = "SLURM job 17 cannot be requeued (Requested operation is presently disabled); submit it again to continue"
    assert slurm.requeue() == said
    scontrol(error=FileNotFoundError(2, "No such file or directory", "scontrol"))
    assert "cannot be requeued ([Errno 2] No such file or directory: 'scontrol')" in slurm.requeue()


def test_other_ranks_wait_for_it(scontrol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = scontrol()
    waited: list[float] = []
    monkeypatch.setattr(slurm.time, "sleep", waited.append)
    assert slurm.end_interrupted_task(is_first=False) is None
    assert (waited, commands) == ([slurm.WAIT], [])


def test_interactive_sessions_are_no_jobs(scontrol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not slurm.is_slurm_job()
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    for name, expected in (("pose", True), ("bash", False), ("interactive", False)):
        monkeypatch.setenv("SLURM_JOB_NAME", name)
        assert slurm.is_slurm_job() is expected
