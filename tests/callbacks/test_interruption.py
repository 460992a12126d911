"""What a signal does, and to whom. That training goes on from it exactly is tested with the runner."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from callbacks import interruption as interruption_module
from callbacks.checkpoints import Checkpoints
from callbacks.interruption import SIGNALS, Interrupted, Interruption


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One rank of two; ``others`` is the signal that another rank has, ``waited`` for which questions it waited."""
    fake = SimpleNamespace(
        world_size=2,
        state=SimpleNamespace(fn="validate"),
        is_global_zero=True,
        accumulate_grad_batches=1,
        val_check_batch=100,
        others=0,
        asked=0,
        waited=[],
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=False))),
    )

    def all_reduce(own: torch.Tensor, op: Any) -> None:
        assert op == torch.distributed.ReduceOp.MAX
        own.clamp_(min=fake.others)

    def start_copy(value: torch.Tensor) -> tuple[torch.Tensor, Any]:
        fake.asked += 1
        return value, SimpleNamespace(synchronize=lambda number=fake.asked: fake.waited.append(number))

    monkeypatch.setattr(interruption_module.dist, "all_reduce", all_reduce)
    monkeypatch.setattr(interruption_module, "start_copy", start_copy)
    fake.strategy = SimpleNamespace(root_device=torch.device("cpu"), launcher=None)
    fake.save_checkpoint = lambda path: Path(path).touch()
    return fake


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


def test_handlers_are_put_back(trainer: Any, tmp_path: Path) -> None:
    before = handlers()
    for end in ("release", "on_exception"):
        interruption = Interruption(Checkpoints(tmp_path))
        interruption.setup(trainer, None, "fit")
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
def test_any_ranks_signal_stops_all_of_them_two_batches_later(trainer: Any, tmp_path: Path, own: bool) -> None:
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
    assert not checkpoints.last.exists()
    interruption.on_train_batch_end(*step)
    assert checkpoints.last.exists()
    with pytest.raises(Interrupted) as caught:
        interruption.on_train_batch_start(trainer, None, None, 4)
    assert caught.value.signum == (signal.SIGTERM if own else signal.SIGUSR1)


def test_no_rank_waits_for_the_step_it_has_just_begun_on_its_device(trainer: Any, tmp_path: Path) -> None:
    interruption = Interruption(Checkpoints(tmp_path))
    for batch in range(4):
        interruption.on_train_batch_end(trainer, None, None, None, batch)
    assert (trainer.asked, trainer.waited) == (4, [1, 2, 3])
    interruption.on_train_epoch_end(trainer, None)
    assert (trainer.asked, trainer.waited) == (5, [1, 2, 3, 5])


def test_at_the_end_of_an_epoch_the_answer_is_awaited(trainer: Any, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    trainer.others = int(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"):
        Interruption(checkpoints).on_train_epoch_end(trainer, None)
    assert checkpoints.last.exists()


def test_one_process_asks_nobody_and_stops_after_its_step(trainer: Any, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    interruption, trainer.world_size = Interruption(checkpoints), 1
    interruption._receive(signal.SIGTERM, None)
    interruption.on_train_batch_end(trainer, None, None, None, 3)
    assert checkpoints.last.exists()
    assert trainer.asked == 0


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
