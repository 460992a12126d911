"""W&B may fail in any way; the training goes on and is told once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from callbacks import wandb_logging
from callbacks.wandb_logging import ForgivingWandbLogger, open_wandb
from experiments.config import WandbConfig, WandbMode


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def test_disabled_opens_nothing(tmp_path: Path) -> None:
    settings = WandbConfig(mode=WandbMode.disabled)
    assert open_wandb(settings, directory=tmp_path, run_id="a", name="b", job_type="train", config={}) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.fault(22, "server out of reach", "seconds; kept offline; said once")
def test_a_server_out_of_reach_costs_seconds_and_the_run_is_kept_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    start = time.monotonic()
    logger = open_wandb(
        WandbConfig(init_timeout=4), directory=tmp_path, run_id="abc", name="n", job_type="train", config={"lr": 0.1}
    )
    assert logger is not None
    logger.log_metrics({"val/AP": 0.5}, step=3)
    logger.finish({"best/AP": 0.5}, exit_code=0)
    assert time.monotonic() - start < 60
    assert len(list(tmp_path.glob("wandb/offline-run-*-abc/run-abc.wandb"))) == 1
    err = capsys.readouterr().err
    assert err.count("W&B: not reachable") == 1
    assert err.count("W&B: offline") == 1


class BrokenRun:
    """As a W&B run whose disk is full."""

    project = "p"

    def __init__(self) -> None:
        self.calls = 0

    def define_metric(self, *_: Any, **__: Any) -> None:
        pass

    def log(self, *_: Any, **__: Any) -> None:
        self.calls += 1
        raise OSError(28, "No space left on device")


@pytest.mark.fault(22, "W&B fails in training", "said once; training goes on")
def test_a_failure_later_on_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = BrokenRun()
    logger = ForgivingWandbLogger(run, tmp_path)
    for step in range(3):
        logger.log_metrics({"val/AP": 0.5}, step=step)
    logger.finish({"best/AP": 0.5}, exit_code=0)
    assert run.calls == 1
    assert capsys.readouterr().err == ("W&B: logging stopped ([Errno 28] No space left on device); training goes on\n")


def test_even_offline_may_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(wandb_logging, "_open", fail)
    assert open_wandb(WandbConfig(), directory=tmp_path, run_id="a", name="b", job_type="train", config={}) is None
    assert capsys.readouterr().err == "W&B: cannot be opened (disk full); the run goes on without it\n"
