import subprocess
from pathlib import Path

import pytest

from experiments.checks import services
from experiments.checks.finding import State


def test_data_root(tiny_coco: Path, tmp_path: Path) -> None:
    assert services.data_root(None)[0].state is State.absent
    assert services.data_root(tmp_path / "none")[0].state is State.wrong
    assert "person_keypoints_" in services.data_root(tmp_path)[0].found
    train, val = services.data_root(tiny_coco)
    assert (train.state, train.found, val.found) == (State.ok, "10 of 10 photographs", "7 of 7 photographs")
    (tiny_coco / "val2017" / "3.png").unlink()
    (tiny_coco / "annotations" / "person_keypoints_train2017.json").write_text('{"images": [')
    train, val = services.data_root(tiny_coco)
    assert train.state is State.wrong
    assert "person_keypoints_train2017.json" in train.found
    assert val.state is State.wrong
    assert val.found == "6 of 7 photographs; 3.png is missing"


def test_wandb_offline_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert services.weights_and_biases().state is State.absent
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert services.weights_and_biases().state is State.ok
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert "WANDB_MODE=offline" in services.weights_and_biases().found


def test_slurm_matters_within_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert services.slurm().state is State.absent
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/sinfo")
    answers = [
        subprocess.CompletedProcess([], 0, "gpu up\nold down\n", ""),
        subprocess.CompletedProcess([], 1, "", "sinfo: error: no controller\n"),
        subprocess.CompletedProcess([], 1, "", "sinfo: error: no controller\n"),
    ]
    monkeypatch.setattr("subprocess.run", lambda *arguments, **options: answers.pop(0))
    assert services.slurm()[:3] == ("SLURM", State.ok, "partitions gpu")
    assert services.slurm().state is State.absent
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert services.slurm()[1:3] == (State.wrong, "sinfo: error: no controller")
