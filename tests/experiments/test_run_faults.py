"""What the machine does to a run, and that a resumed one ends as if it had not."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config import compose
from experiments.training.run_directory import open_run_directory

ROOT = Path(__file__).parents[2]


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "last.ckpt", weights_only=True)


def assert_equal_ends(first: Path, second: Path) -> None:
    """The same weights, losses and figures."""
    one, other = state(first), state(second)
    assert one["global_step"] == other["global_step"]
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    assert (first / "metrics.csv").read_text() == (second / "metrics.csv").read_text()
    figures = [json.loads((folder / "result.json").read_text())["figures"] for folder in (first, second)]
    assert figures[0] == figures[1]


@pytest.mark.slow
@pytest.mark.fault(13, "SIGKILL within an epoch, and while last.ckpt is written", "resumed equal to undisturbed")
def test_a_killed_run_goes_on_from_the_last_whole_checkpoint(
    run: Any, toy: Any, tiny_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["trainer.checkpoint_every_steps=1", "output.pictures=0", "data.num_workers=0"]
    command = [sys.executable, toy.__file__, "--paper", "toy", "--name", "killed", f"data.root={tiny_coco}"]
    environment = {**os.environ, "TOY_RECIPES": str(tmp_path), "PYTHONPATH": str(ROOT), "TOY_DEATH_AT": "12"}
    environment.pop("POSE_PAPERS_RUN_DIRECTORY", None)
    done = subprocess.run([*command, f"output.root={tmp_path}/runs", *common], env=environment, timeout=900)
    assert done.returncode == -signal.SIGKILL
    killed = run.runs / "killed"
    assert not (killed / "result.json").exists()
    shutil.copytree(killed, run.runs / "while_writing")
    # As it is left in between: the one before has its new name, the new one is not whole, or not there yet.
    for name, left in (("killed", None), ("while_writing", 1000)):
        folder = run.runs / name
        if left is not None:
            (folder / "last.ckpt").write_bytes((folder / "last.ckpt").read_bytes()[:left])
            (folder / "last.part").write_bytes(b"half")
        assert run("--name", name, "--resume", *common) == 0
        assert f"resuming from {'last' if left is None else 'previous'}.ckpt" in capsys.readouterr().err
    assert run("--name", "whole", *common) == 0
    for name in ("killed", "while_writing"):
        assert_equal_ends(run.runs / name, run.runs / "whole")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system of its own to fill: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.fault(17, "disk full while a checkpoint is written", "one line, exit code 1; the earlier one intact")
def test_a_full_disk_is_told_and_costs_nothing_but_the_time(
    run: Any, small_disk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ("output.pictures=0", "data.num_workers=0")
    monkeypatch.setenv("TOY_DISK", str(small_disk))
    monkeypatch.setenv("TOY_FULL_AT", "7")
    assert run("--name", "parts", *common, f"output.root={small_disk}") == 1
    parts = small_disk / "toy" / "parts"
    err = capsys.readouterr().err
    assert f"error: no space left on the disk of {parts}; earlier checkpoints are whole, --resume continues" in err
    assert "Traceback" not in err
    assert state(parts)["global_step"] == 3
    assert not (parts / "last.part").exists()
    (small_disk / "filler").unlink()
    monkeypatch.delenv("TOY_FULL_AT")
    assert run("--name", "parts", "--resume", *common, f"output.root={small_disk}") == 0
    assert run("--name", "whole", *common) == 0
    assert_equal_ends(parts, run.runs / "whole")


@pytest.mark.fault(19, "DataLoader worker killed", "one line that names the worker, exit code 1")
def test_a_killed_worker_is_named(
    run: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_WORKER_DEATH_AT", "2")
    assert run("--name", "workers", "data.num_workers=1", "output.pictures=0") == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: DataLoader worker ")
    assert "the system ended it, mostly for want of memory (fewer data.num_workers)" in line


@pytest.mark.slow
@pytest.mark.fault(19, "DataLoader worker that never answers", "one line within data.worker_timeout, exit code 1")
def test_a_hung_worker_is_given_up_and_does_not_stay(
    run: Any, tiny_coco: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_BLOCK_AT", "1")
    monkeypatch.setenv("TOY_DISK", str(tiny_coco / "train2017"))
    assert run("--name", "workers", "data.num_workers=1", "data.worker_timeout=5", "output.pictures=0") == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: DataLoader timed out after 5 seconds")
    assert multiprocessing.active_children() == []  # which heed no SIGTERM: it may be SLURM's, to the whole job


@pytest.mark.fault(8, "evaluated and trained on 100 people in one image, a crowd, an empty image", "trains, evaluates")
def test_from_nobody_to_a_hundred_people(run: Any, write_coco: Any, person: Any) -> None:
    people = [person(number, 1, bbox=[1.0 + number % 10, 1.0 + number // 10, 20.0, 24.0]) for number in range(1, 101)]
    crowd = person(200, 2, iscrowd=1, keypoints=[0] * 51, num_keypoints=0)
    bare = person(201, 3, keypoints=[0] * 51, num_keypoints=0)
    root = write_coco([*people, crowd, bare], dict.fromkeys((1, 2, 3, 4), (64, 64)))
    options = ["data.train_without_people=true", f"data.root={root}", "data.num_workers=0", "--preset", "brief"]
    assert run("--name", "many", *options) == 0
    figures = json.loads((run.runs / "many" / "result.json").read_text())["figures"]
    assert 0 <= figures["AP"] <= 1


@pytest.mark.fault(2, "broken keypoints in a whole run, data.on_bad_annotation=drop", "trains and evaluates without")
@pytest.mark.fault(3, "no box, no area, a crowd without keypoints, ids from 0, in a whole run", "trains, evaluates")
def test_what_training_repairs_or_drops_does_not_end_the_first_evaluation(
    run: Any, write_coco: Any, person: Any
) -> None:
    people = [person(0, 1), {**person(1, 2), "bbox": None}, person(2, 3, area=None), person(3, 4, keypoints=[1, 2, 2])]
    people += [person(4, 4), person(5, 1, iscrowd=1, keypoints=None), person(6, 1, num_keypoints=None)]
    root = write_coco(people, dict.fromkeys((1, 2, 3, 4), (64, 64)))
    options = ["data.on_bad_annotation=drop", f"data.root={root}", "data.num_workers=0", "--preset", "brief"]
    (root / "train2017/3.png").write_text("")
    assert run("--name", "repaired", *options, "data.on_bad_image=skip") == 0
    result = json.loads((run.runs / "repaired" / "result.json").read_text())
    assert 0 <= result["figures"]["AP"] <= 1
    counts = {"images_dropped": 0, "annotations_dropped": 1, "repaired": 4}
    assert result["data_faults"] == {
        "train": {**counts, "photographs_skipped": 1},
        "val": {**counts, "photographs_skipped": 0},
    }


@pytest.mark.fault(18, "two runs of one name at once", "the second is refused; the first is named")
def test_a_name_in_use_is_refused(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    holder = open_run_directory(compose("toy", None, [f"output.root={tmp_path}/runs", "name=busy"]), resume=False)
    assert run("--name", "busy") == 2
    assert f"busy is in use by process {os.getpid()} on " in capsys.readouterr().err
    del holder
