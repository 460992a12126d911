"""Names, locks and resumption of run folders."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from experiments.config import RunConfig, compose
from experiments.training.run_directory import (
    DIRECTORY_VARIABLE,
    RunDirectoryError,
    is_first_process,
    join_run_directory,
    open_run_directory,
    write_config,
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (DIRECTORY_VARIABLE, "RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def config(tmp_path: Path, *overrides: str) -> RunConfig:
    return compose("inspose", "smoke", [f"output.root={tmp_path}", *overrides])


def _open(config: RunConfig, answers: Any) -> None:
    try:
        open_run_directory(config, resume=True)
    except RunDirectoryError as error:
        answers.put(str(error))
    else:
        answers.put("opened")


@pytest.mark.fault(18, "folder of a live run", "refused; its process named")
def test_a_live_run_is_not_disturbed_and_a_dead_one_can_be_taken_over(tmp_path: Path) -> None:
    settings = config(tmp_path, "name=mine")
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    directory, _ = open_run_directory(settings, resume=False)
    other = context.Process(target=_open, args=(settings, answers))
    other.start()
    assert f"in use by process {os.getpid()} on " in answers.get(timeout=60)
    other.join()

    dead = context.Process(target=_open, args=(config(tmp_path, "name=dead"), answers))
    dead.start()
    assert answers.get(timeout=60) == "opened"
    dead.join()
    again, _ = open_run_directory(config(tmp_path, "name=dead"), resume=True)
    assert again.path == tmp_path / "inspose" / "dead"
    assert directory.path == tmp_path / "inspose" / "mine"


def test_the_run_id_lasts_over_resumption_and_the_newest_unfinished_run_is_resumed(tmp_path: Path) -> None:
    settings = config(tmp_path)
    first, line = open_run_directory(settings, resume=True)
    assert line is not None
    assert "nothing to resume" in line
    first.result_file.write_text("{}")
    second, line = open_run_directory(settings, resume=False)
    assert (second.path.name, line) == (f"{first.path.name}-2", None)
    assert second.run_id != first.run_id
    second_id = second.run_id
    write_config(second, settings)
    (second.path / "last.ckpt").touch()
    del second, first  # a process that ends lets go of its locks
    resumed, line = open_run_directory(settings, resume=True)
    assert (resumed.path.name[-2:], resumed.run_id, line) == ("-2", second_id, None)
    third, line = open_run_directory(settings, resume=False)
    assert third.path.name.endswith("-3")
    assert line is not None
    assert "is not finished (--resume continues it)" in line


def test_a_folder_in_which_nothing_was_trained_is_used_again(tmp_path: Path) -> None:
    directory, _ = open_run_directory(config(tmp_path, "name=mine"), resume=False)
    write_config(directory, config(tmp_path, "name=mine"))
    first_id = directory.run_id
    del directory
    again, line = open_run_directory(config(tmp_path, "name=mine", "seed=1"), resume=False)
    assert (again.path.name, line) == ("mine", None)
    assert again.run_id != first_id


def test_other_ranks_find_the_folder_of_the_first(tmp_path: Path) -> None:
    settings = config(tmp_path)
    first, _ = open_run_directory(settings, resume=False)
    assert join_run_directory(settings).path == first.path  # told by the first process
    os.environ.pop(DIRECTORY_VARIABLE)
    (first.path / "last.ckpt").touch()
    assert join_run_directory(settings).path == first.path  # found as the one to resume


@pytest.mark.fault(16, "resumed with another seed", "refused; both values named")
def test_only_machine_settings_may_change_on_resumption(tmp_path: Path) -> None:
    settings = config(tmp_path, "name=mine")
    directory, _ = open_run_directory(settings, resume=False)
    write_config(directory, settings)
    (directory.path / "last.ckpt").touch()
    del directory
    with pytest.raises(RunDirectoryError, match=r"was started with seed=0, not 1; resume it as it was"):
        open_run_directory(config(tmp_path, "name=mine", "seed=1"), resume=True)
    directory, _ = open_run_directory(config(tmp_path, "name=mine", "data.num_workers=3"), resume=True)
    assert directory.path.name == "mine"


@pytest.mark.fault(18, "folder that cannot be made", "refused; what to set")
def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "inspose").write_text("not a folder")
    with pytest.raises(RunDirectoryError, match=r"cannot be written \(Not a directory\); set output\.root"):
        open_run_directory(config(tmp_path, "name=mine"), resume=False)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "8", "LOCAL_RANK": "0"}, False),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "3"}, False),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, True),
    ],
)
def test_rank_0_is_known_from_the_environment(
    environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is expected


def test_the_newest_checkpoint_comes_first(tmp_path: Path) -> None:
    directory, _ = open_run_directory(config(tmp_path), resume=False)
    assert directory.checkpoints_to_resume() == []
    for age, name in ((30, "previous.ckpt"), (20, "last.ckpt"), (10, "hpc_ckpt_1.ckpt"), (5, "best.ckpt")):
        file = directory.path / name
        file.touch()
        os.utime(file, (1e9 - age, 1e9 - age))
    assert [file.name for file in directory.checkpoints_to_resume()] == [
        "hpc_ckpt_1.ckpt",
        "last.ckpt",
        "previous.ckpt",
    ]
