"""What a signal does, and to whom. That training goes on from it exactly is tested with the runner."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from callbacks.checkpoints import Checkpoints
from callbacks.interruption import SIGNALS, Interrupted, Interruption


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    """One rank of two; ``others`` is the signal that another rank has."""
    fake = SimpleNamespace(
        world_size=2,
        state=SimpleNamespace(fn="validate"),
        is_global_zero=True,
        accumulate_grad_batches=1,
        val_check_batch=100,
        others=0,
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=False))),
    )

    def reduce(own: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "max"
        return own.clamp(min=fake.others)

    fake.strategy = SimpleNamespace(reduce=reduce, root_device=torch.device("cpu"), launcher=None)
    fake.save_checkpoint = lambda path: Path(path).touch()
    return fake


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


def test_handlers_are_put_back(trainer: Any, tmp_path: Path) -> None:
    before = handlers()
    for end in ("release", "on_exception"):
        interruption = Interruption(Checkpoints(tmp_path))
        interruption.on_fit_start(trainer, None)
        assert signal.getsignal(signal.SIGTERM) == interruption._receive
        interruption.on_validation_start(trainer, None)
        assert signal.getsignal(signal.SIGTERM) == interruption._stop_now
        getattr(interruption, end)(*([] if end == "release" else [trainer, None, KeyboardInterrupt()]))
        assert handlers() == before


@pytest.mark.fault(12, "SIGUSR1 in the evaluation after training", "ends at once; last.ckpt holds the training")
def test_the_evaluation_after_training_ends_at_once_and_tells_the_processes_it_started(
    trainer: Any, tmp_path: Path
) -> None:
    told: list[int] = []
    trainer.strategy.launcher = SimpleNamespace(kill=told.append)
    interruption = Interruption(Checkpoints(tmp_path))
    try:
        trainer.state.fn = "fit"
        interruption.on_validation_start(trainer, None)
        assert signal.getsignal(signal.SIGUSR1) != interruption._stop_now
        trainer.state.fn = "validate"
        interruption.on_validation_start(trainer, None)
        with pytest.raises(Interrupted, match="interrupted by SIGUSR1"):
            signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)  # once is enough
        assert told == [signal.SIGUSR1]
        with pytest.raises(Interrupted):  # a signal that comes between training and evaluation
            interruption.on_validation_start(trainer, None)
    finally:
        interruption.release()


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.fault(12, "signal on one rank of two", "all ranks stop at one step")
def test_any_ranks_signal_stops_all_of_them_one_batch_later(trainer: Any, tmp_path: Path, own: bool) -> None:
    checkpoints = Checkpoints(tmp_path)
    interruption = Interruption(checkpoints)
    step: Any = (trainer, None, None, None, 3)
    interruption.on_train_batch_end(*step)
    interruption.on_train_batch_start(trainer, None, None, 4)
    assert not checkpoints.last.exists()
    if own:
        interruption._receive(signal.SIGTERM, None)
    else:
        trainer.others = int(signal.SIGUSR1)
    interruption.on_train_batch_end(*step)
    assert checkpoints.last.exists()
    with pytest.raises(Interrupted) as caught:
        interruption.on_train_batch_start(trainer, None, None, 4)
    assert caught.value.signum == (signal.SIGTERM if own else signal.SIGUSR1)


def test_a_second_ctrl_c_stops_at_once_and_workers_take_no_notice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interruption = Interruption(Checkpoints(tmp_path))
    interruption._process = os.getpid() + 1
    interruption._receive(signal.SIGINT, None)
    assert interruption.signum is None
    interruption._process = os.getpid()
    interruption._receive(signal.SIGINT, None)
    interruption._receive(signal.SIGTERM, None)
    assert interruption.signum == signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        interruption._receive(signal.SIGINT, None)
    assert capsys.readouterr().err == "SIGINT: stopping after this step; once more to stop at once\n"
