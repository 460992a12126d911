"""What a signal does, and to whom. That training goes on from it exactly is tested with the runner."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from callbacks.checkpoints import Checkpoints
from callbacks.interruption import Interrupted, Interruption


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    """One rank of two; ``others`` is whether another rank was signalled."""
    fake = SimpleNamespace(
        world_size=2,
        is_global_zero=True,
        accumulate_grad_batches=1,
        val_check_batch=100,
        others=False,
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=False))),
    )
    fake.strategy = SimpleNamespace(reduce_boolean_decision=lambda own, all: own or fake.others)
    fake.save_checkpoint = lambda path: Path(path).touch()
    return fake


def test_handlers_are_put_back(trainer: Any, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    interruption = Interruption(Checkpoints(tmp_path))
    interruption.on_fit_start(trainer, None)  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGTERM) == interruption._receive
    interruption.teardown(trainer, None, "fit")  # type: ignore[arg-type]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before


@pytest.mark.parametrize("own", [True, False])
def test_any_ranks_signal_stops_all_of_them_one_batch_later(trainer: Any, tmp_path: Path, own: bool) -> None:
    checkpoints = Checkpoints(tmp_path)
    interruption = Interruption(checkpoints)
    step: Any = (trainer, None, None, None, 3)
    interruption.on_train_batch_end(*step)
    interruption.on_train_batch_start(trainer, None, None, 4)  # type: ignore[arg-type]
    assert not checkpoints.last.exists()
    if own:
        interruption._receive(signal.SIGTERM, None)
    else:
        trainer.others = True
    interruption.on_train_batch_end(*step)
    assert checkpoints.last.exists()
    with pytest.raises(Interrupted) as caught:
        interruption.on_train_batch_start(trainer, None, None, 4)  # type: ignore[arg-type]
    assert caught.value.signum == (signal.SIGTERM if own else signal.SIGINT)


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
