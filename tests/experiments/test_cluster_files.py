"""The shell files of ``experiments/cluster``, with stand-ins for srun, scontrol and wandb."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CLUSTER = Path(__file__).parents[2] / "experiments" / "cluster"
BASH = shutil.which("bash")

pytestmark = pytest.mark.skipif(BASH is None, reason="no bash")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``stand_in("srun")`` is a program that notes its arguments; returns the file they are noted in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, body: str = "") -> Path:
        calls = tmp_path / f"{name}.calls"
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{body}\n')
        program.chmod(0o755)
        return calls

    return make


def bash(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BASH), *map(str, arguments)], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("file", sorted(CLUSTER.glob("*.sbatch")), ids=lambda path: path.name)
def test_every_job_can_be_preempted_and_appends_to_its_log(file: Path) -> None:
    text = file.read_text()
    for line in ("--signal=SIGUSR1@90", "--requeue", "--open-mode=append"):
        assert f"#SBATCH {line}\n" in text
    assert "--resume" in text
    assert bash("-n", file).returncode == 0
    tasks, gpus = (text.split(f"#SBATCH --{key}=")[1].split()[0] for key in ("ntasks-per-node", "gpus-per-node"))
    assert tasks == gpus  # one task for each


def test_the_jobs_command(stand_in: Any, tmp_path: Path) -> None:
    calls = stand_in("srun")
    environment = {
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_ARRAY_TASK_ID": "1",
    }
    for name in ("one_node", "many_nodes"):
        done = bash(CLUSTER / f"{name}.sbatch", "ssn", "mine", "seed=3", "data.root=/a b", **environment)
        assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs.txt"
    runs.write_text("ssn first seed=1\ninspose second seed=2 data.root=/coco\n")
    assert bash(CLUSTER / "array.sbatch", runs, **environment).returncode == 0
    missing = bash(CLUSTER / "array.sbatch", runs, **{**environment, "SLURM_ARRAY_TASK_ID": "2"})
    assert missing.returncode == 2
    assert "runs.txt has no line 3 of paper, name and overrides" in missing.stderr
    one, many, of_array = calls.read_text().splitlines()
    assert (
        one
        == many
        == (
            "--kill-on-bad-exit=1 python -m experiments.run --paper ssn --name mine --resume trainer.devices=4 "
            "trainer.num_nodes=2 trainer.strategy=ddp data.num_workers=7 seed=3 data.root=/a b"
        )
    )
    assert of_array == (
        "python -m experiments.run --paper inspose --name second --resume trainer.devices=1 data.num_workers=7 "
        "seed=2 data.root=/coco"
    )


def test_offline_runs_are_sent_when_they_changed_and_again_after_a_failure(stand_in: Any, tmp_path: Path) -> None:
    calls = stand_in("wandb", f"test ! -e {tmp_path}/no-network")
    folder = tmp_path / "runs" / "ssn" / "a run" / "wandb"
    for part in ("offline-run-1-abc", "offline-run-2-abc"):
        (folder / part).mkdir(parents=True)
        (folder / part / "run-abc.wandb").write_text("x")

    def sent() -> int:
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    (tmp_path / "no-network").touch()
    failed = bash(CLUSTER / "sync_wandb.sh", tmp_path / "runs")
    assert failed.returncode == 0
    assert "a run/wandb could not be sent; it is tried again next time" in failed.stderr
    (tmp_path / "no-network").unlink()
    for expected in (2, 2):  # sent now, and not again
        assert bash(CLUSTER / "sync_wandb.sh", tmp_path / "runs").returncode == 0
        assert sent() == expected
    parts = " ".join(f"{folder}/{part}" for part in ("offline-run-1-abc", "offline-run-2-abc"))
    assert calls.read_text().splitlines()[-1] == f"sync --include-synced {parts}"
    later = (folder / ".sent").stat().st_mtime + 5
    os.utime(folder / "offline-run-2-abc" / "run-abc.wandb", (later, later))
    bash(CLUSTER / "sync_wandb.sh", tmp_path / "runs")
    assert sent() == 3
    assert "the folder of the runs" in bash(CLUSTER / "sync_wandb.sh").stderr
