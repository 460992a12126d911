"""Signals to a whole run, workers and all, as a terminal, a scheduler or a person sends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
"""Seconds to wait for what must happen."""

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 138}


class Program:
    """A program in a process group of its own; its stderr is a file."""

    def __init__(self, command: list[str], stderr: Path, environment: dict[str, str]) -> None:
        self.stderr = stderr
        everything = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        everything.pop("POSE_PAPERS_RUN_DIRECTORY", None)
        self.process = subprocess.Popen(
            # A background shell may leave SIGINT ignored, which a program inherits.
            [sys.executable, "-c", DEFAULT_SIGNALS, *command],
            stdout=subprocess.DEVNULL,
            stderr=stderr.open("w"),
            env=everything,
            start_new_session=True,
        )

    def send(self, name: str) -> None:
        os.killpg(self.process.pid, getattr(signal, name))

    def await_(self, holds: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.002)

    def said(self) -> str:
        return self.stderr.read_text()

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def group(self) -> list[int]:
        """Every process of the group that still runs."""
        listed = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listed.splitlines()]
        return [int(pid) for pid, group, state in rows if int(group) == self.process.pid and state[0] not in "ZX"]


DEFAULT_SIGNALS = """
import os, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.fixture
def start(toy: Any, tiny_coco: Path, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """``start("name", "key=value", TOY_…="…")`` starts a run of the toy with two workers."""
    programs: list[Program] = []

    def call(name: str, *options: str, **environment: str) -> Program:
        command = [toy.__file__, "--paper", "toy", "--name", name, f"data.root={tiny_coco}"]
        command += [f"output.root={tmp_path}/runs", "output.pictures=0", "data.num_workers=2", *options]
        programs.append(Program(command, tmp_path / "stderr", {"TOY_RECIPES": str(tmp_path), **environment}))
        return programs[-1]

    yield call
    for program in programs:
        if program.process.poll() is None:
            os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait()


def assert_interrupted(program: Program, name: str, folder: Path) -> None:
    assert program.process.wait(PATIENCE) == CODES[name], program.said()
    assert f"interrupted by {name}" in program.said()
    assert "error" not in program.said()
    assert "Traceback" not in program.said()
    assert json.loads((folder / "run.json").read_text())["state"] == "interrupted"
    assert program.group() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CODES))
@pytest.mark.fault(12, "a signal to the run and its workers", "exit 130, 143, 138; last.ckpt of the step it stopped at")
def test_a_signal_to_the_group_stops_a_run_with_workers_after_its_step(
    start: Callable[..., Program], name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "toy" / "parts"
    slow = ("trainer.max_epochs=50", "trainer.checkpoint_every_steps=1")
    program = start("parts", *slow, TOY_SECONDS="0.1")
    program.await_((folder / "last.ckpt").exists)
    assert len(program.children()) >= 2
    program.send(name)
    assert_interrupted(program, name, folder)
    step = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert f"interrupted by {name} at step {step}; --resume continues it" in program.said()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CODES))
@pytest.mark.fault(12, "a signal to the run while its workers start", "exit 130, 143, 138 before the first step")
def test_a_signal_to_the_group_while_workers_start(start: Callable[..., Program], name: str, tmp_path: Path) -> None:
    program = start("parts", "data.num_workers=6", TOY_SECONDS="0.1")
    program.await_(lambda: "toy ·" in program.said() and program.children())
    program.send(name)
    assert_interrupted(program, name, tmp_path / "runs" / "toy" / "parts")
    assert f"interrupted by {name} before the first step" in program.said()


EVALUATE = """
import os, sys, time
from pathlib import Path
import toy_paper
toy_paper.register(Path(os.environ["TOY_RECIPES"]))
step = toy_paper.Toy.validation_step

def slowly(self, *arguments):
    Path(os.environ["TOY_RECIPES"], "evaluating").touch()
    time.sleep(3)
    return step(self, *arguments)

toy_paper.Toy.validation_step = slowly
from experiments import evaluate
sys.modules["toy_paper"].Toy = toy_paper.Toy
sys.exit(evaluate.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.fault(12, "a signal to an evaluation and its workers", "it ends as any program does; no worker stays")
def test_a_signal_to_the_group_ends_an_evaluation_and_its_workers(
    run: Any, toy: Any, tmp_path: Path, tiny_coco: Path
) -> None:
    assert run("--name", "done", "--preset", "brief") == 0
    file = tmp_path / "program.py"
    file.write_text(EVALUATE)
    environment = {"TOY_RECIPES": str(tmp_path), "PYTHONPATH": f"{ROOT}:{Path(toy.__file__).parent}"}
    command = [str(file), "--checkpoint", str(run.runs / "done"), f"data.root={tiny_coco}", "data.num_workers=2"]
    for name, code in (("SIGINT", 130), ("SIGTERM", -signal.SIGTERM), ("SIGUSR1", -signal.SIGUSR1)):
        program = Program([*command, "data.val_batch_size=1"], tmp_path / "stderr", environment)
        program.await_((tmp_path / "evaluating").exists)
        program.send(name)
        assert program.process.wait(PATIENCE) == code, program.said()
        assert "Traceback" not in program.said()
        assert "DataLoader" not in program.said()
        end = time.monotonic() + 60
        while program.group():
            assert time.monotonic() < end, "a worker stays"
            time.sleep(0.1)
        (tmp_path / "evaluating").unlink()
