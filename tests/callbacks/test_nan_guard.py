"""The first loss that is not finite is named with its batch, and no checkpoint comes after it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from callbacks import nan_guard
from callbacks.nan_guard import NanGuard, NonFiniteLoss
from datamodules.contracts import Meta, Persons, PoseBatch


def batch(sample: int) -> PoseBatch:
    persons = Persons(
        torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2), torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.ones(1, 1)
    )
    ids = torch.tensor([sample])
    size = torch.ones(1, 2)
    meta = Meta(ids, ids + 100, size, size, torch.zeros(1, 2, 3), torch.ones(1))
    return PoseBatch(torch.zeros(1, 3, 4, 4), persons, torch.zeros(1, 1, 1), None, meta)


class SlowEvent:
    """Passes only when it is waited for, as a copy from a busy device."""

    def query(self) -> bool:
        return False

    def synchronize(self) -> None:
        pass


@pytest.fixture
def trainer() -> Any:
    return SimpleNamespace(callback_metrics={}, global_step=0, global_rank=0, world_size=1, accumulate_grad_batches=1)


def step(guard: NanGuard, trainer: Any, number: int, **terms: float) -> None:
    trainer.global_step = number - 1
    guard.on_train_batch_start(trainer, None, None, 0)
    trainer.global_step = number
    trainer.callback_metrics = {f"train/{name}": torch.tensor(value) for name, value in terms.items()}
    trainer.callback_metrics["val/AP"] = torch.tensor(float("nan"))
    guard.on_train_batch_end(trainer, None, {"loss": torch.tensor(sum(terms.values()))}, batch(number), 0)


def test_a_batch_that_is_accumulated_belongs_to_the_step_it_is_a_part_of(tmp_path: Path, trainer: Any) -> None:
    guard = NanGuard(tmp_path)
    guard.on_train_batch_start(trainer, None, None, 0)
    with pytest.raises(NonFiniteLoss, match="loss is nan at step 1, samples 5 "):
        guard.on_train_batch_end(trainer, None, {"loss": torch.tensor(float("nan"))}, batch(5), 0)


@pytest.mark.fault(11, "infinite loss term", "term, step, samples named; batch saved")
def test_infinite_terms_are_named_and_the_batch_is_kept(tmp_path: Path, trainer: Any) -> None:
    guard = NanGuard(tmp_path)
    step(guard, trainer, 1, cls=1.0, box=2.0)
    with pytest.raises(NonFiniteLoss) as caught:
        step(guard, trainer, 2, cls=1.0, box=float("inf"))
    file = tmp_path / "nan_batch_rank0.pt"
    assert str(caught.value) == f"train/box is inf at step 2, samples 2 (images 102); the batch is saved in {file}"
    saved = torch.load(file, weights_only=True)
    assert saved["values"]["train/cls"] == 1.0
    assert saved["batch"]["meta"]["sample_id"].tolist() == [2]


def test_on_a_busy_device_the_step_where_it_began_is_told(
    tmp_path: Path, trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_copy(values: Tensor) -> tuple[Tensor, Any]:
        return values, SlowEvent()

    monkeypatch.setattr(nan_guard, "start_copy", slow_copy)
    guard = NanGuard(tmp_path, depth=3)
    nan = float("nan")
    for number, cls in ((1, 1.0), (2, nan), (3, nan), (4, nan)):
        step(guard, trainer, number, cls=cls)
    with pytest.raises(NonFiniteLoss, match=r"train/cls is nan at step 2, samples 2 "):
        step(guard, trainer, 5, cls=nan)

    guard = NanGuard(tmp_path, depth=3)
    trainer.world_size, trainer.global_rank = 2, 1
    step(guard, trainer, 1, cls=nan)
    with pytest.raises(NonFiniteLoss, match=r"at step 1, rank 1, samples 1 .*nan_batch_rank1\.pt"):
        guard.on_save_checkpoint(trainer, None, {})
