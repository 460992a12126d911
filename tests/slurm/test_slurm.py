"""A run on a real SLURM: two tasks, preempted twice, requeued twice, and its result that of an undisturbed one."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOY = ROOT / "tests" / "experiments" / "toy_paper.py"
PATIENCE = float(os.environ.get("SLURM_TEST_PATIENCE", "300"))
"""Seconds to wait for each thing that must happen; a busy machine takes minutes to import torch."""

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which ``sbatch`` and the others talk to a cluster of this one machine."""
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([HERE / "one_node.sh", "start", folder], capture_output=True, text=True)
    if started.returncode == 77:
        pytest.skip(started.stderr.strip().splitlines()[-1])
    assert started.returncode == 0, started.stderr
    try:
        yield {**os.environ, "SLURM_CONF": f"{folder}/slurm.conf"}
    finally:
        subprocess.run([HERE / "one_node.sh", "stop", folder], check=True)


class Cluster:
    """Submits the toy paper with the sbatch file that is shipped, and waits for what its log and SLURM say."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.folder = folder
        python = folder / "python"  # the sbatch file runs `python -m experiments.run …`: the toy is that program too
        python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {TOY} "$@"\n')
        python.chmod(0o755)
        # This machine has no GPU to ask for: that line of the file is left out.
        lines = (ROOT / "experiments" / "cluster" / "one_node.sbatch").read_text().splitlines(keepends=True)
        self.file = folder / "one_node.sbatch"
        self.file.write_text("".join(line for line in lines if not line.startswith("#SBATCH --gpus")))
        self.environment = {
            **environment,
            "PYTHON": str(python),
            "PYTHONPATH": str(ROOT),
            "TOY_RECIPES": str(folder),
            "POSE_DATA": str(folder),
            "OMP_NUM_THREADS": "1",
        }
        self.environment.pop("POSE_PAPERS_RUN_DIRECTORY", None)

    def submit(self, name: str, *overrides: str, **environment: str) -> str:
        command = ["sbatch", "--parsable", "--ntasks-per-node=2", "--cpus-per-task=1", f"--chdir={ROOT}"]
        command += [f"--output={self.folder}/{name}.log", str(self.file), "toy", name]
        rendered = ["data.rendered.train_images=12", "data.rendered.val_images=6", "data.rendered.size=64"]
        options = [*rendered, f"output.root={self.folder}/runs", "trainer.ddp_timeout=240", *overrides]
        done = self._call(*command, *options, environment=environment)
        return done.stdout.strip()

    def log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def run_folder(self, name: str) -> Path:
        return self.folder / "runs" / "toy" / name

    def await_(self, what: str, holds: object, name: str) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {what}\n{self.log(name)}"
            time.sleep(0.5)

    def step_of_checkpoint(self, name: str) -> int:
        try:
            return int(torch.load(self.run_folder(name) / "last.ckpt", weights_only=True)["global_step"])
        except (OSError, RuntimeError):
            return 0

    def state(self, job: str) -> dict[str, str]:
        text = self._call("scontrol", "show", "job", job).stdout
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def preempt(self, job: str, *command: str) -> None:
        """Run ``command`` and let SLURM start the job again now, not after the pause it gives requeued jobs."""
        restarts = int(self.state(job)["Restarts"])
        self._call(*command)
        self.await_("requeued", lambda: int(self.state(job)["Restarts"]) > restarts or self._is_pending(job), "parts")
        if self._is_pending(job):
            self._call("scontrol", "update", f"JobId={job}", "StartTime=now")

    def _is_pending(self, job: str) -> bool:
        return self.state(job)["JobState"] == "PENDING"

    def _call(self, *command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        everything = {**self.environment, **(environment or {})}
        return subprocess.run(command, env=everything, capture_output=True, text=True, check=True)


@pytest.mark.fault(
    26,
    "preempted and requeued by SLURM twice, workers signalled too",
    "ends with the weights and figures of an undisturbed run",
)
def test_a_run_that_is_preempted_twice_ends_as_if_it_had_not_been(
    slurm: dict[str, str], tmp_path: Path, record_property: pytest.FixtureRequest
) -> None:
    cluster = Cluster(slurm, tmp_path)
    long = ("data.num_workers=1", "trainer.max_epochs=6", "trainer.checkpoint_every_steps=1", "wandb.mode=offline")
    parts = cluster.submit("parts", *long, TOY_SECONDS="1")
    cluster.await_("step 4", lambda: cluster.step_of_checkpoint("parts") >= 4, "parts")
    # As SLURM does 90 seconds before the time is over (--signal), but to every process of the job, the batch script,
    # workers and W&B's process too: the run asks for its requeue itself.
    cluster.preempt(parts, "scancel", "--signal=USR1", "--full", parts)
    first = cluster.step_of_checkpoint("parts")
    cluster.await_("resumed", lambda: cluster.log("parts").count("resuming from last.ckpt") == 1, "parts")
    cluster.await_("steps after it", lambda: cluster.step_of_checkpoint("parts") >= first + 3, "parts")
    # As SLURM does for a job of higher priority: SIGTERM, and it is requeued whatever the run does.
    cluster.preempt(parts, "scontrol", "requeue", parts)
    cluster.await_("the end", lambda: (cluster.run_folder("parts") / "result.json").exists(), "parts")
    cluster.await_("completed", lambda: cluster.state(parts)["JobState"] == "COMPLETED", "parts")

    whole = cluster.submit("whole", "trainer.max_epochs=6", TOY_SECONDS="0")
    cluster.await_("completed", lambda: cluster.state(whole)["JobState"] in ("COMPLETED", "FAILED"), "whole")

    log = cluster.log("parts")
    keep = os.environ.get("SLURM_TEST_LOG")
    if keep:
        shutil.copy(tmp_path / "parts.log", keep)
    assert cluster.state(parts)["Restarts"] == "2", log
    assert log.count("SIGUSR1: stopping after this step") == 2  # both ranks
    assert re.search(
        r"(?s)interrupted by SIGUSR1 at step \d+; --resume continues it\n.*SLURM job \d+ is requeued", log
    ), log
    assert re.search(r"interrupted by SIGTERM at step \d+; --resume continues it", log), log
    assert log.count("resuming from last.ckpt") == 2
    assert "2 devices × 2" in log
    assert "Traceback" not in log

    states = [torch.load(cluster.run_folder(name) / "last.ckpt", weights_only=True) for name in ("parts", "whole")]
    assert states[0]["global_step"] == states[1]["global_step"] == 18
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name]), name
    results = [json.loads((cluster.run_folder(name) / "result.json").read_text()) for name in ("parts", "whole")]
    assert results[0]["figures"] == results[1]["figures"]
    rows = [list(csv.reader((cluster.run_folder(name) / "metrics.csv").open())) for name in ("parts", "whole")]
    assert rows[0] == rows[1]
    ids = {folder.name.rsplit("-", 1)[1] for folder in cluster.run_folder("parts").glob("wandb/offline-run-*")}
    assert len(ids) == 1, "one W&B run over all its parts"
    steps = re.findall(r"interrupted by (\w+) at step (\d+)", log)
    seen = ", ".join(f"{name} at step {step}" for name, step in steps)
    record_property("seen", f"{seen}; requeued twice; 18 steps; weights, losses and figures equal")
