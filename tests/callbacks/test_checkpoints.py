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
    if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and trainer.state.fn == "fit":
        checkpoints.on_train_epoch_end(trainer, None)


def test_the_first_best_is_kept_and_nan_never_is(tmp_path: Path, trainer: Any) -> None:
    checkpoints = Checkpoints(tmp_path)
    evaluate(checkpoints, trainer, 1, math.nan)
    assert not checkpoints.best.exists()
    for step, score, best in ((2, 0.0, 2), (3, 0.5, 3), (4, 0.5, 3), (5, math.nan, 3), (6, 0.4, 3), (7, 0.6, 7)):
        evaluate(checkpoints, trainer, step, score)
        assert checkpoints.best.read_text() == str(best)
        assert checkpoints.last.read_text() == str(step)

    resumed = Checkpoints(tmp_path)
    resumed.load_state_dict(checkpoints.state_dict())
    evaluate(resumed, trainer, 8, 0.55)
    assert (resumed.best.read_text(), resumed.best_step) == ("7", 7)
    trainer.state.fn = "validate"
    evaluate(resumed, trainer, 9, 0.9)
    assert resumed.best.read_text() == "7"


def test_a_state_is_written_once_and_the_best_one_has_two_names(tmp_path: Path, trainer: Any) -> None:
    checkpoints, written = Checkpoints(tmp_path), []
    write = trainer.save_checkpoint
    trainer.save_checkpoint = lambda path: (written.append(trainer.global_step), write(path))
    for is_last_batch, step, score, best in ((True, 1, 0.1, 1), (False, 2, 0.2, 2), (True, 3, 0.1, 2)):
        trainer.fit_loop.epoch_loop.batch_progress.is_last_batch = is_last_batch
        evaluate(checkpoints, trainer, step, score)
        assert (checkpoints.best.read_text(), checkpoints.last.read_text()) == (str(best), str(step))
        assert checkpoints.best.samefile(checkpoints.last) is (best == step)
    assert written == [1, 2, 3]
    assert {file.name for file in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}


def test_without_hard_links_the_best_is_a_copy(tmp_path: Path, trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("callbacks.checkpoints.os.link", refuse)
    checkpoints = Checkpoints(tmp_path)
    evaluate(checkpoints, trainer, 4, 0.1)
    assert (checkpoints.best.read_text(), checkpoints.last.read_text()) == ("4", "4")
    assert not checkpoints.best.samefile(checkpoints.last)


@pytest.mark.parametrize("best_step", [4, 8])
def test_a_finished_run_keeps_the_weights_of_its_best_and_last_step(tmp_path: Path, best_step: int) -> None:
    def state(step: int) -> dict[str, Any]:
        moments = {"state": {0: {"momentum_buffer": torch.ones(1000)}}}
        kept = {
            "state_dict": {"weight": torch.full((1000,), float(step))},
            "global_step": step,
            "run": {"paper": "toy"},
        }
        return {**kept, "optimizer_states": [moments], "lr_schedulers": [], "loops": {}, "callbacks": {}}

    checkpoints = Checkpoints(tmp_path)
    for file, step in ((checkpoints.best, best_step), (checkpoints.last, 8), (checkpoints.previous, 6)):
        torch.save(state(step), file)
    before = checkpoints.last.stat().st_size
    checkpoints.keep_weights()
    assert {file.name for file in tmp_path.iterdir()} == {"best.ckpt", "last.ckpt"}
    for file, step in ((checkpoints.best, best_step), (checkpoints.last, 8)):
        content = torch.load(file, weights_only=True)
        assert set(content) == {"state_dict", "global_step", "run"}
        assert content["global_step"] == step
        assert torch.equal(content["state_dict"]["weight"], torch.full((1000,), float(step)))
        assert file.stat().st_size < 0.7 * before
    assert checkpoints.best.samefile(checkpoints.last) is (best_step == 8)


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
