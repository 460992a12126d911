"""Which states are kept, when, and where a step may be resumed from."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from callbacks.checkpoints import Checkpoints, is_resumable_here


@pytest.fixture
def trainer() -> Any:
    """What ``Checkpoints`` asks of a trainer; a checkpoint holds the step."""
    fake = SimpleNamespace(
        sanity_checking=False,
        is_global_zero=True,
        global_step=0,
        callback_metrics={},
        accumulate_grad_batches=1,
        val_check_batch=10,
        state=SimpleNamespace(fn="fit"),
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(is_last_batch=True))),
    )
    fake.save_checkpoint = lambda path: Path(path).write_text(str(fake.global_step))
    return fake


def evaluate(checkpoints: Checkpoints, trainer: Any, step: int, score: float) -> None:
    trainer.global_step = step
    trainer.callback_metrics = {"val/AP": torch.tensor(score)}
    checkpoints.on_validation_end(trainer, None)


def test_the_first_best_is_kept_and_nan_never_is(tmp_path: Path, trainer: Any) -> None:
    checkpoints = Checkpoints(tmp_path)
    evaluate(checkpoints, trainer, 1, math.nan)
    assert not checkpoints.best.exists()
    for step, score, best in ((2, 0.0, 2), (3, 0.5, 3), (4, 0.5, 3), (5, math.nan, 3), (6, 0.4, 3), (7, 0.6, 7)):
        evaluate(checkpoints, trainer, step, score)
        assert checkpoints.best.read_text() == str(best)
    assert not checkpoints.last.exists()

    resumed = Checkpoints(tmp_path)
    resumed.load_state_dict(checkpoints.state_dict())
    evaluate(resumed, trainer, 8, 0.55)
    assert (resumed.best.read_text(), resumed.best_step) == ("7", 7)
    trainer.state.fn = "validate"
    evaluate(resumed, trainer, 9, 0.9)
    assert resumed.best.read_text() == "7"


def test_the_last_and_the_one_before(tmp_path: Path, trainer: Any) -> None:
    checkpoints = Checkpoints(tmp_path, every_steps=4)
    batch_progress = trainer.fit_loop.epoch_loop.batch_progress
    batch_progress.is_last_batch = False
    for batch in range(9):
        trainer.global_step = batch + 1
        checkpoints.on_train_batch_end(trainer, None, None, None, batch)
    assert (checkpoints.last.read_text(), checkpoints.previous.read_text()) == ("8", "4")
    trainer.global_step = 10
    checkpoints.on_train_epoch_end(trainer, None)
    assert (checkpoints.last.read_text(), checkpoints.previous.read_text()) == ("10", "8")
    evaluate(checkpoints, trainer, 13, 0.1)  # within an epoch
    assert (checkpoints.last.read_text(), checkpoints.previous.read_text()) == ("13", "10")


@pytest.mark.parametrize(
    ("batch", "accumulate", "is_last", "val_check_batch", "expected"),
    [
        (3, 1, False, 10, True),
        (3, 2, False, 10, True),
        (4, 2, False, 10, False),
        (3, 1, True, 10, False),
        (9, 1, False, 10, False),
        (9, 1, False, math.inf, True),
        (9, 1, False, None, True),
    ],
)
def test_where_a_checkpoint_resumes_exactly(
    trainer: Any, batch: int, accumulate: int, is_last: bool, val_check_batch: Any, expected: bool
) -> None:
    trainer.accumulate_grad_batches = accumulate
    trainer.val_check_batch = val_check_batch
    trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = is_last
    assert is_resumable_here(trainer, batch) is expected
