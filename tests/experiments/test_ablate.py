"""The plan of a table, what it refuses, how it is handed over, and that being killed changes nothing."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from experiments import ablate
from experiments.ablation import jobs as jobs_module
from experiments.ablation.plan import State, make_jobs, state_of
from experiments.config import compose, scientific, to_plain
from experiments.tables.loader import find_table

RENDERED = "data.rendered={train_images: 6, val_images: 3, size: 64, max_people: 2, min_height: 0.5}"
FOLDER = Path(__file__).parent


@pytest.fixture
def plan(toy_table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """``plan("--dry-run", …)`` -> exit code, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = ablate.main(["--paper", "toy", "--table", "1", f"output.root={tmp_path}/runs", *arguments])
        return code, *capsys.readouterr()

    return call


def finish(directory: Path, config: dict[str, Any], **more: Any) -> None:
    """A folder as a finished run leaves it, as far as the plan reads it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    (directory / "result.json").write_text(json.dumps({"config": config, "wall_time_s": 90.0, **more}))


def config_of(job: Any) -> dict[str, Any]:
    texts = [text for text in job.arguments if "=" in text]
    return to_plain(compose("toy", "brief" if "brief" in job.arguments else None, texts))


def test_the_plan_says_what_differs_and_how_far_every_run_is(plan: Any, tmp_path: Path) -> None:
    code, out, _ = plan("--dry-run", "--seeds", "2")
    assert code == 0
    assert "Where the answer starts" in out
    assert "model.start" in out
    assert [line.split("│")[2].strip() for line in out.splitlines() if "│ far away" in line] == ["12.0"]
    assert out.count("new, new") == 2
    assert "somebody" not in out
    assert "4 runs to do (--probe measures what they cost)" in out
    assert not (tmp_path / "runs").exists()


def test_runs_are_named_by_table_row_and_seed_and_told_to_wandb(toy_table: Any) -> None:
    table = find_table("toy", "1")
    found = make_jobs(table, list(table.ours), [0, 1], "brief", ["optimizer.lr=0.1"])
    assert [job.name for job in found] == [
        "brief-table1-near-seed0",
        "brief-table1-far-away-seed0",
        "brief-table1-near-seed1",
        "brief-table1-far-away-seed1",
    ]
    assert found[1].arguments == (
        *("--name", "brief-table1-far-away-seed0", "--paper", "toy", "--preset", "brief"),
        *("model.start=12.0", "optimizer.lr=0.1", "seed=0"),
        *("wandb.group=toy/table1/far-away", "wandb.name=far-away-seed0"),
    )
    assert found[3].settings == scientific(config_of(found[3]))
    assert found[3].settings["seed"] == 1


def test_states_are_read_from_the_folders(toy_table: Any, tmp_path: Path) -> None:
    table = find_table("toy", "1")
    near, far = make_jobs(table, list(table.ours), [0], None, [f"output.root={tmp_path}/runs"])
    assert state_of(near) == State("new")

    finish(near.directory, config_of(near))
    assert state_of(near) == State("finished", "", near.directory)
    finish(near.directory, {**config_of(near), "seed": 5})
    assert state_of(near).kind == "other"
    assert "has seed=5, not 0; choose another output.root" in state_of(near).note

    finish(far.directory.parent / "by-hand", {**config_of(far), "name": "by-hand"})
    assert state_of(far) == State("finished", "as by-hand", far.directory.parent / "by-hand")
    (far.directory.parent / "by-hand" / "result.json").unlink()

    far.directory.mkdir()
    (far.directory / "config.yaml").write_text(yaml.safe_dump(config_of(far)))
    (far.directory / "last.ckpt").write_bytes(b"")
    (far.directory / "run.json").write_text('{"state": "failed"}')
    assert state_of(far).kind == "failed"
    with (far.directory / "run.lock").open("w") as lock:
        lock.write("process 7 on here\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state_of(far) == State("running", "process 7 on here")
    assert state_of(far).kind == "failed"


def test_a_finished_run_tells_what_the_others_cost(plan: Any, tmp_path: Path, toy_table: Any) -> None:
    table = find_table("toy", "1")
    near = make_jobs(table, list(table.ours), [0], None, [f"output.root={tmp_path}/runs"])[0]
    finish(near.directory, config_of(near))
    (near.directory / "last.ckpt").write_bytes(bytes(5_000_000))
    code, out, err = plan("--dry-run", "--seeds", "3", "--json")
    answer = json.loads(out)
    assert code == answer["exit_code"] == 0
    assert [run["state"] for run in answer["runs"]] == ["finished", *["new"] * 5]
    assert "5 runs: about 8 min and 25 MB (as table1-near-seed0 took)" in err
    assert answer["estimate"]["seconds"] == 90
    (near.directory / "result.json").write_text("")
    assert "estimate" not in json.loads(plan("--dry-run", "--seeds", "3", "--json")[1])


def test_a_probe_counts_all_batches_and_evaluations() -> None:
    from experiments.ablation.estimate import cost_from_probe, total_text

    measured = {
        "start_seconds": 10.0,
        "seconds_per_batch": 0.5,
        "batches": 1000,
        "evaluations": 3,
        "images": 200,
        "seconds_per_image": 0.1,
        "checkpoint_bytes": 2_000_000,
        "picture_bytes": 1000,
    }
    cost = cost_from_probe(measured)
    assert cost[:2] == (10 + 500 + 60, 4_003_000)
    assert total_text(cost, 4).startswith("4 runs: about 38 min and 16 MB (probed: 0.5 s a batch")


@pytest.mark.slow
def test_a_probe_measures_a_few_batches_of_the_real_thing(toy: Any, tiny_coco: Path, tmp_path: Path) -> None:
    from experiments.ablation.probe import BATCHES, measure

    config = compose("toy", None, [f"data.root={tiny_coco}", "trainer.max_epochs=40", "trainer.max_steps=30"])
    measured = measure(config, tmp_path / "probe")
    batches = 30 * 2  # two batches of two are a step of four
    assert (measured["batches"], measured["images"]) == (batches, 7)
    assert measured["evaluations"] == batches / 5 + 1  # after each epoch, and the best one at the end
    assert 0 < measured["seconds_per_batch"] < measured["start_seconds"]
    assert measured["seconds_per_image"] > 0
    (checkpoint, *_) = (tmp_path / "probe").rglob("last.ckpt")
    assert measured["checkpoint_bytes"] >= checkpoint.stat().st_size > 0
    assert measured["picture_bytes"] > 0
    content = torch.load(checkpoint, weights_only=True)
    assert content["global_step"] == BATCHES // 2
    assert "optimizer_states" not in content  # as a finished run keeps it


def test_a_probe_is_asked_for_the_run_that_is_planned(
    plan: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The program is called as its own process would be; only the measuring itself is replaced."""
    from experiments.ablation import estimate, probe

    asked = []

    def measure(config: Any, folder: Path) -> dict[str, float]:
        asked.append((config.paper, config.preset, config.model.start, config.optimizer.lr, folder.is_dir()))
        keys = ("start_seconds", "seconds_per_batch", "batches", "evaluations", "images", "seconds_per_image")
        return dict.fromkeys([*keys, "checkpoint_bytes", "picture_bytes"], 2.0)

    def run(command: list[str], **_: Any) -> Any:
        assert command[1:3] == ["-m", "experiments.ablation.probe"]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = probe.main(command[3:])
        return subprocess.CompletedProcess(command, code, out.getvalue(), "error: out of memory\n" if code else "")

    monkeypatch.setattr(probe, "measure", measure)
    monkeypatch.setattr(estimate.subprocess, "run", run)
    code, out, _ = plan("--dry-run", "--probe", "--preset", "brief", "--rows", "far away", "optimizer.lr=0.1")
    assert code == 0
    assert asked == [("toy", "brief", 12.0, 0.1, True)]
    assert "1 run: about 14 s and 8 B (probed: 2 s a batch, 2 s an image evaluated, 2 B a checkpoint)" in out

    monkeypatch.setattr(probe, "measure", lambda *_: (_ for _ in ()).throw(ValueError("no such image")))
    code, _, err = plan("--dry-run", "--probe")
    assert code == 2
    assert "error: the probe of 'near' failed: out of memory" in err


def test_mistakes_are_told_in_one_line(plan: Any) -> None:
    for arguments, message in (
        (("--rows", "nea"), "Table 1 of toy has no row 'nea'; did you mean near?"),
        (("--rows", "somebody else's"), "is another system's: it is published only"),
        (("seed=3",), "seed is set for each run"),
        (("model.strat=3",), "model.strat: no such key; did you mean model.start?"),
        (("--rows", "quux"), "Table 1 of toy has no row 'quux' (ours: near; far away)"),
        (("--launcher", "slurm", "--sbatch=gres"), "give one option of sbatch"),
        (("--sbatch=--gres=gpu:8",), "--sbatch is of --launcher slurm"),
        (("output.root=/dev/null/runs",), "/dev/null/runs/toy: cannot be made a folder (Not a directory); set output"),
    ):
        code, _, err = plan(*arguments)
        assert code == 2
        assert message in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("both", [("--row=near", "--rows=near"), ("--seed=1", "--seeds=2"), ("--probe", "--no-probe")])
def test_options_that_contradict_each_other_are_refused(plan: Any, both: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as end:
        plan("--dry-run", *both)
    assert end.value.code == 2


def test_a_table_of_counts_is_not_trained_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main(["--paper", "ssa", "--table", "7", "--dry-run"]) == 2
    assert "counts and needs no training: python -m experiments.complexity --paper ssa" in capsys.readouterr().err


def test_slurm_gets_one_array_task_per_run(plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    slurm = (
        "--launcher",
        "slurm",
        "--sbatch=--gres=gpu:8",
        "--sbatch=--nodes=2",
        "--rows",
        "near",
        "far away",
        "data.root=/my data",
    )
    code, _, err = plan(*slurm)
    script = tmp_path / "runs" / "toy" / "slurm" / "toy-table1.sbatch"
    assert code == 2
    assert err == f"error: there is no sbatch here; on a machine of the cluster run: sbatch {script}\n"
    lines = script.read_text().splitlines()
    header = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert {"--array=0-1", "--requeue", "--open-mode=append", "--gres=gpu:8", "--job-name=toy-table1"} <= set(header)
    assert [line for line in header if line.startswith("--nodes")] == ["--nodes=2"]
    # What the second task of the array runs, told by a shell in which srun only repeats its arguments.
    srun = 'srun() { printf "%s\\n" "$@"; }; exec() { "$@"; }; '
    environment = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_NTASKS_PER_NODE": "8", "SLURM_JOB_NUM_NODES": "2"}
    done = subprocess.run(
        ["/bin/bash", "-c", srun + script.read_text()], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    words = done.stdout.splitlines()
    assert words[:4] == ["--kill-on-bad-exit=1", sys.executable, "-m", "experiments.run"]
    assert {"data.root=/my data", "model.start=12.0", "--resume", "seed=0", "trainer.devices=8"} <= set(words)

    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "sbatch"
    fake.write_text("#!/bin/sh\necho Submitted batch job 42 from $1\n")
    fake.chmod(0o755)
    code, out, _ = plan(*slurm)
    assert code == 0
    assert f"Submitted batch job 42 from {script}" in out


def test_a_sweep_runs_each_row_under_each_seed(plan: Any, tmp_path: Path, toy_table: Any) -> None:
    file = tmp_path / "sweep.yaml"
    assert plan("--sweep", str(file), "--seeds", "2", "--preset", "brief", "optimizer.lr=0.1")[0] == 0
    code, out, err = plan("--sweep", str(file), "--seeds", "2", "--preset", "brief", "optimizer.lr=0.1", "--json")
    assert json.loads(out) == {"exit_code": code, "sweep": str(file)}
    assert err.startswith("4 runs: wandb sweep")
    sweep = yaml.safe_load(file.read_text())
    assert sweep["method"] == "grid"
    assert sweep["parameters"] == {"row": {"values": ["near", "far-away"]}, "seed": {"values": [0, 1]}}
    command = sweep["command"]
    assert command[:4] == ["${env}", "${interpreter}", "-m", "experiments.ablate"]
    # What an agent makes of it: ${args} becomes --row=… --seed=…; the rest is this program's own command line.
    filled = [word for word in command[4:] if word != "${args}"]
    options = ablate._parser().parse_intermixed_args([*filled, "--row=far-away", "--seed=1"])
    assert (options.paper, options.table, options.preset, options.row, options.seed) == (
        *("toy", "1", "brief"),
        *("far-away", 1),
    )
    assert "optimizer.lr=0.1" in options.overrides


@pytest.fixture
def pretend(tmp_path: Path, toy_table: Any, monkeypatch: pytest.MonkeyPatch):
    """``pretend(code)`` puts a program in the place of ``experiments.run``: a folder's results come from ``give``."""
    table = find_table("toy", "1")
    jobs = make_jobs(table, list(table.ours), [0], None, [f"output.root={tmp_path}/runs"])
    store = jobs[0].directory.parent
    store.mkdir(parents=True)
    for job in jobs:
        (store / f"{job.row.slug}.yaml").write_text(yaml.safe_dump(config_of(job)))

    def use(code: str) -> Path:
        script = tmp_path / "runner.py"
        script.write_text(
            "import pathlib, signal, sys, time\n"
            "name = sys.argv[sys.argv.index('--name') + 1]\n"
            f"store = pathlib.Path({str(store)!r})\n"
            "folder = store / name\n"
            "def give():\n"
            "    config = store / (name.removeprefix('table1-').removesuffix('-seed0') + '.yaml')\n"
            "    (folder / 'config.yaml').write_text(config.read_text())\n"
            "    (folder / 'result.json').write_text('{}')\n" + code
        )
        monkeypatch.setattr(jobs_module, "RUNNER", (sys.executable, str(script)))
        return store

    return use


def test_a_failed_run_is_listed_with_its_log_and_stops_nothing(plan: Any, pretend: Any) -> None:
    store = pretend("if 'near' in name: sys.exit('error: the loss is NaN')\ngive()\n")
    code, out, _ = plan("--no-probe")
    log = store / "table1-near-seed0" / "log.txt"
    assert code == 1
    assert f"[1/2] table1-near-seed0: failed (the loss is NaN), log in {log}" in out
    assert "[2/2] table1-far-away-seed0: finished in" in out
    assert "1 of 2 runs finished" in out
    assert f"\ntable1-near-seed0: failed, the loss is NaN, log in {log}\n" in out
    assert log.read_text() == "error: the loss is NaN\n"


def test_a_row_that_another_process_holds_is_left_for_the_end(
    plan: Any, pretend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = pretend("give()\n")
    monkeypatch.setattr(jobs_module, "POLL_SECONDS", 0.05)
    held = store / "table1-near-seed0" / "ablate.lock"
    held.parent.mkdir()
    with held.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        release = threading.Timer(2.0, fcntl.flock, (lock, fcntl.LOCK_UN))
        release.start()
        code, out, _ = plan("--no-probe")
        release.join()
    assert code == 0
    steps = [line for line in out.splitlines() if "finished in" in line or "waiting for" in line]
    assert [step.split(":")[0] for step in steps] == [
        "[2/2] table1-far-away-seed0",
        "table1-near-seed0",
        "[1/2] table1-near-seed0",
    ]


def test_ctrl_c_is_passed_on_and_nothing_is_started_after_it(plan: Any, pretend: Any) -> None:
    store = pretend(
        "def stop(*_):\n"
        "    (folder / 'last.ckpt').write_bytes(b'')\n"
        "    give()\n"
        "    (folder / 'result.json').unlink()\n"
        "    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "(folder / 'started').touch()\n"
        "time.sleep(60)\n"
    )

    def interrupt() -> None:
        wait_for((store / "table1-near-seed0" / "started").exists, "run")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code, out, _ = plan("--no-probe")
    thread.join()
    assert code == 130
    assert "stopping: the run in progress writes its checkpoint" in out
    assert "stopped with 0 of 2 runs finished; the same command goes on" in out
    assert (store / "table1-near-seed0" / "last.ckpt").exists()
    assert not (store / "table1-far-away-seed0").exists()


def wait_for(condition: Any, what: str, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} after {seconds} seconds"
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to tell a child of its parent's death")
def test_a_run_whose_parent_is_killed_is_told_to_end(tmp_path: Path) -> None:
    runner, parent = tmp_path / "runner.py", tmp_path / "parent.py"
    runner.write_text(
        "import pathlib, signal, sys, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "def stop(*_):\n"
        "    (folder / 'ended').touch()\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "(folder / 'started').touch()\n"
        "time.sleep(60)\n"
    )
    parent.write_text(
        "import sys\n"
        "from experiments import ablate\n"
        "from experiments.ablation import jobs\n"
        f"jobs.RUNNER = (sys.executable, {str(runner)!r})\n"
        f"ablate.main(['--paper', 'inspose', '--table', '1', '--no-probe', 'output.root={tmp_path}/runs'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1])}
    process = subprocess.Popen([sys.executable, str(parent)], env=environment, stdout=subprocess.DEVNULL)
    wait_for((tmp_path / "started").exists, "run")
    process.kill()
    process.wait()
    wait_for((tmp_path / "ended").exists, "end of the run")


@pytest.mark.slow
def test_killed_half_way_and_started_again_it_ends_as_if_nothing_had_happened(toy_table: Any, tmp_path: Path) -> None:
    """Row one is finished, row two within its second epoch, when the program and the run are killed without warning.

    Rendered people, real processes. The table of the two halves is compared with that of runs in this process.
    """
    from experiments.report import collect, read_runs
    from experiments.run import main as run

    environment = {
        **os.environ,
        "TOY_RECIPES": str(tmp_path),
        "TOY_STALL": f"12.0:4:{tmp_path}/stalled",
        "PYTHONPATH": str(FOLDER.parents[1]),
    }
    common = [RENDERED, "trainer.max_epochs=2", "output.pictures=0"]
    command = [sys.executable, str(FOLDER / "toy_ablate.py"), "--paper", "toy", "--table", "1", "--no-probe", *common]
    killed = [*command, f"output.root={tmp_path}/killed"]
    first = subprocess.Popen(killed, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for((tmp_path / "stalled").exists, "run that stalls in its second epoch")
    store = tmp_path / "killed" / "toy"
    inner = json.loads((store / "table1-far-away-seed0" / "run.json").read_text())["pid"]
    first.kill()
    os.kill(inner, signal.SIGKILL)
    first.wait()
    assert (store / "table1-near-seed0" / "result.json").exists()
    assert not (store / "table1-far-away-seed0" / "result.json").exists()
    assert (store / "table1-far-away-seed0" / "last.ckpt").exists()

    second = subprocess.run(killed, env=environment, capture_output=True, text=True, timeout=900)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "[1/2]" not in second.stdout
    assert "[2/2] table1-far-away-seed0: finished" in second.stdout
    assert "resuming from" in (store / "table1-far-away-seed0" / "log.txt").read_text()

    whole = tmp_path / "whole"
    for job in make_jobs(find_table("toy", "1"), list(find_table("toy", "1").ours), [0], None, common):
        assert run([*job.arguments, f"output.root={whole}"]) == 0
    tables = [collect(find_table("toy", "1"), read_runs(root)) for root in (tmp_path / "killed", whole)]
    assert [row.ours for row in tables[0].rows] == [row.ours for row in tables[1].rows]
    assert all(row.ours["AP"].n == 1 for row in tables[0].rows[:2])
    assert tables[0].rows[0].ours["AP"].mean != tables[0].rows[1].ours["AP"].mean
