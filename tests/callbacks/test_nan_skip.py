"""A step that is not finite leaves nothing behind, on no rank."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from callbacks.nan_guard import NonFiniteLoss
from callbacks.nan_skip import NanSkip
from datamodules.contracts import Meta, Persons, PoseBatch

NAN = float("nan")


def batch(sample: int) -> PoseBatch:
    people = Persons(
        torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2), torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.ones(1, 1)
    )
    ids, size = torch.tensor([sample]), torch.ones(1, 2)
    meta = Meta(ids, ids + 100, size, size, torch.zeros(1, 2, 3), torch.ones(1))
    return PoseBatch(torch.zeros(1, 3, 4, 4), people, torch.zeros(1, 1, 1), None, meta)


class Run:
    """One rank of two that trains a weight and a running mean: as Lightning calls the callback."""

    def __init__(self, folder: Path, most: int = 2, scaler: object | None = None) -> None:
        self.skip = NanSkip(folder, most)
        self.others = False
        """Whether another rank's loss is not finite."""
        self.module: Any = nn.BatchNorm1d(1)
        self.module.log = lambda name, value, **_: self.logged.update({name: value})
        self.logged: dict[str, float] = {}
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=0.5, momentum=0.9, weight_decay=0.1)
        self.trainer: Any = SimpleNamespace(
            callback_metrics={},
            global_step=0,
            global_rank=1,
            world_size=2,
            accumulate_grad_batches=1,
            precision_plugin=SimpleNamespace(scaler=scaler),
            strategy=SimpleNamespace(reduce_boolean_decision=lambda own, all: own or self.others),
        )

    def step(self, *factors: float, gradient: float = 1.0) -> None:
        """An optimizer step whose losses (of one accumulated batch each) are multiplied by ``factors``."""
        self.trainer.accumulate_grad_batches = len(factors)
        self.optimizer.zero_grad()
        for number, factor in enumerate(factors):
            self.skip.on_train_batch_start(self.trainer, self.module, batch(10 * self.trainer.global_step + number), 0)
            loss = (self.module(torch.tensor([[1.0], [3.0]]) * factor).pow(2).sum() + self.module.bias.sum()) * factor
            self.trainer.callback_metrics = {"train/box": loss.detach(), "val/AP": torch.tensor(NAN)}
            self.skip.on_before_backward(self.trainer, self.module, loss / len(factors))
            loss.backward()
        self.module.weight.grad.mul_(gradient)
        self.skip.on_before_optimizer_step(self.trainer, self.module, self.optimizer)
        self.optimizer.step()
        self.trainer.global_step += 1
        self.skip.on_train_batch_end(self.trainer, self.module, {"loss": loss}, None, 0)

    def state(self) -> list[torch.Tensor]:
        state = [
            *self.module.state_dict().values(),
            *(item["momentum_buffer"] for item in self.optimizer.state.values()),
        ]
        return [value.clone() for value in state]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.fault(11, "NaN loss in one step, trainer.on_nan=skip", "left out on all ranks, told and counted")
def test_a_skipped_step_changes_nothing_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path)
    run.step(1.0)
    assert run.logged == {}
    before = run.state()
    run.step(1.0, NAN)
    assert same(run.state(), before)
    assert run.logged == {"skipped_steps": 1.0}
    file = tmp_path / "nan_batch_rank1.pt"
    assert torch.load(file, weights_only=True)["batch"]["meta"]["sample_id"].tolist() == [11]
    assert capsys.readouterr().err == (
        f"warning: train/box is nan at step 2, rank 1, samples 11 (images 111); the batch is saved in {file}; "
        "the step is left out (1 of at most 2 in a row)\n"
    )
    run.step(1.0)
    assert not same(run.state(), before)


@pytest.mark.fault(11, "NaN loss on another rank, trainer.on_nan=skip", "this rank leaves the step out too")
def test_another_ranks_nan_skips_here_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path)
    run.step(1.0)
    before = run.state()
    run.others = True
    run.step(1.0)
    run.step(1.0)
    assert same(run.state(), before)
    assert capsys.readouterr().err == ""  # told by the rank that has it
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NonFiniteLoss, match=r"another rank's loss is not finite at step 4; 2 steps in a row were left"):
        run.step(1.0)


@pytest.mark.fault(11, "more NaN losses in a row than trainer.max_nan_skips", "stops; names term, step, samples")
def test_only_so_many_in_a_row_also_over_a_resumption(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for factor in (NAN, NAN, 1.0, NAN):
        run.step(factor)
    resumed = Run(tmp_path)
    resumed.skip.load_state_dict(run.skip.state_dict())
    resumed.step(NAN)
    assert resumed.logged == {"skipped_steps": 4.0}
    with pytest.raises(NonFiniteLoss, match=r"train/box is nan at step 2, rank 1, samples 10 .*; 2 steps in a row"):
        resumed.step(NAN)


def test_a_gradient_alone_counts_unless_a_scaler_looks_at_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path)
    run.step(1.0, gradient=float("inf"))
    assert "the gradient's norm is inf at step 1, rank 1, samples 0 " in capsys.readouterr().err
    assert run.module.weight.item() == 1.0
    scaled = Run(tmp_path, scaler=object())
    scaled.step(1.0, gradient=float("inf"))
    assert scaled.logged == {}
    scaled.step(NAN)
    assert scaled.logged == {"skipped_steps": 1.0}
    assert scaled.module.weight.grad is not None  # the scaler sees it and steps over
