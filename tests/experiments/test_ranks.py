"""Several processes: they train and score as one, go on exactly, and none is left waiting for one that is gone."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]

takes_minutes = pytest.mark.skipif(os.environ.get("FAULTS") != "all", reason="takes minutes; make test-faults runs it")


@pytest.fixture
def launch(toy: Any, tiny_coco: Path, tmp_path: Path):
    """``launch("name", "key=value", …, TOY_…="…")`` runs the toy on two ranks to its end."""

    def call(name: str, *options: str, launcher: tuple[str, ...] = (), **environment: str) -> Any:
        command = [sys.executable, *launcher, toy.__file__, "--paper", "toy", "--name", name]
        command += [f"data.root={tiny_coco}", f"output.root={tmp_path}/runs", "output.pictures=0"]
        command += ["trainer.devices=2", "trainer.strategy=ddp", *options]
        everything = {**os.environ, "TOY_RECIPES": str(tmp_path), "PYTHONPATH": str(ROOT), **environment}
        everything.pop("POSE_PAPERS_RUN_DIRECTORY", None)
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env=everything, timeout=1200)
        done.seconds = time.monotonic() - started
        return done

    return call


def losses(folder: Path) -> list[float]:
    """Of every optimizer step, over all ranks."""
    rows = csv.DictReader((folder / "metrics.csv").open())
    return [float(row["value"]) for row in rows if row["metric"] == "train/offset"]


def checkpoint(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    return torch.load(folder / name, weights_only=True)


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
@pytest.mark.fault(21, "seven images over two ranks", "figures of one process, no sample twice")
@pytest.mark.fault(12, "SIGUSR1 on rank 1 of two", "both stop at one step; resumed equal to undisturbed")
@pytest.mark.fault(27, "two devices resumed on one within an epoch", "refused; what to keep is named")
def test_two_processes_are_as_one_and_go_on_exactly(
    run: Any, launch: Any, tiny_coco: Path, capsys: pytest.CaptureFixture[str], record_property: Any
) -> None:
    """Two samples a step either way, three steps an epoch: time to ask all ranks in one and to stop in the next.

    The whole run is started by torchrun, the others by Lightning.
    """
    common = ("optimizer.reference_batch=2", "data.limit_train=6")
    two = ("data.batch_size=1", *common)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = launch("two", "--json", *two, launcher=torchrun)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["train"]["samples_per_step"], report["train"]["steps"]) == (2, 9)
    assert "2 devices × 1" in done.stderr
    assert "wandb" not in {path.name for path in Path(report["directory"]).iterdir()}

    stopped = launch("parts", *two, TOY_SIGNAL_AT="3", TOY_SIGNAL="SIGUSR1", TOY_RANK="1")
    assert stopped.returncode == 128 + signal.SIGUSR1, stopped.stderr
    assert "interrupted by SIGUSR1 at step 5; --resume continues it" in stopped.stderr
    assert run("--name", "parts", "--resume", "data.batch_size=2", *common, "output.pictures=0") == 2
    assert "lies within an epoch, which must be finished with devices 2, not 1" in capsys.readouterr().err
    resumed = launch("parts", "--resume", *two)
    assert resumed.returncode == 0, resumed.stderr
    assert "warning" not in resumed.stderr.lower()
    assert run("--name", "one", "data.batch_size=2", *common, "output.pictures=0") == 0

    folders = {name: run.runs / name for name in ("one", "two", "parts")}
    for key, value in checkpoint(folders["two"])["state_dict"].items():
        assert torch.equal(value, checkpoint(folders["parts"])["state_dict"][key]), key
    by_run = {name: losses(folder) for name, folder in folders.items()}
    assert by_run["two"] == by_run["parts"]
    assert result(folders["two"])["figures"] == result(folders["parts"])["figures"]
    distance = max(abs(a - b) / abs(b) for a, b in zip(by_run["two"], by_run["one"], strict=True))
    assert len(by_run["one"]) == 9
    assert distance < 1e-5

    # The weights of the two processes, evaluated by one.
    from datamodules.evaluator import CocoKeypointEvaluator
    from experiments.config import compose
    from experiments.training.run_directory import RunDirectory
    from experiments.training.session import Session

    scores = json.loads((folders["two"] / "predictions.json").read_text())
    assert len(scores) == 14
    scored = CocoKeypointEvaluator(tiny_coco / "annotations" / "person_keypoints_val2017.json").score(scores)
    (folders["one"] / "evaluation").mkdir()
    session = Session(
        compose("toy", None, [f"data.root={tiny_coco}"]),
        RunDirectory(folders["one"] / "evaluation", "id"),
        is_first=True,
        say=print,
    )
    session.trainer.validate(session.module, session.data, ckpt_path=folders["two"] / "best.ckpt", verbose=False)
    figures = {"by two": report["figures"]["AP"], "rescored": scored["AP"]}
    figures["by one"] = session.callbacks.evaluation.figures["AP"]
    assert len(set(figures.values())) == 1, figures
    assert figures["by one"] > 0
    by_two, by_one = figures["by two"], figures["by one"]
    told = (
        f"AP of one checkpoint evaluated by two processes and by one: {by_two:.6f}, {by_one:.6f}; "
        f"training losses of two processes and of one: relative distance {distance:.1e}; "
        "of two processes, undisturbed and resumed: 0"
    )
    print(told)
    record_property("seen", told)


@takes_minutes
@pytest.mark.slow
@pytest.mark.fault(20, "rank 1 killed in training", "rank 0 ends at once and says which rank and how")
def test_a_rank_that_dies_is_named(launch: Any, record_property: Any) -> None:
    done = launch("death", "trainer.ddp_timeout=120", TOY_DEATH_AT="3", TOY_RANK="1")
    assert done.returncode != 0
    line = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    record_property("seen", line)
    assert re.match(
        r"error: rank 1 \(process \d+\) has ended with SIGKILL, last seen at .+; the collective of rank 0 ", line
    )
    assert "Traceback" not in done.stderr


@takes_minutes
@pytest.mark.slow
@pytest.mark.fault(20, "rank 1 waits for ever", "all end within the time-out; which rank, and where it is, is said")
def test_a_rank_that_hangs_is_named_and_ended(launch: Any, record_property: Any) -> None:
    done = launch("hang", "trainer.ddp_timeout=120", TOY_HANG_AT="3", TOY_RANK="1")
    assert done.returncode != 0
    line = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    record_property("seen", line)
    culprit = r"rank 1 \(process (\d+) on \S+\) has been at step 4 for \d+ s, in toy_paper\.py:\d+ \(wait\)"
    assert re.match(rf"error: {culprit}; the others, at step 4, wait for it; the collective of rank 0 said: ", line)
    assert re.search(rf"rank 0 has waited \d+ s at step 4: {culprit}", done.stderr)  # before the time-out
    assert "rank 1: rank 0 has ended; ending at step 4" in done.stderr
    # Nobody is left: the pipe that both ranks wrote to would not have ended else.
    assert "Traceback" not in done.stderr
