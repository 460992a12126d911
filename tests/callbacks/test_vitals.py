"""Vital signs against steps computed by hand, and parts that are starved on purpose."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks import vitals as vitals_module
from callbacks.metrics_csv import MetricsCsv
from callbacks.metrics_file import read_metrics
from callbacks.vitals import Vitals
from callbacks.weight_average import average_weights
from lightning_modules.shared.vital_parts import Part, children_as_parts


class Sum(pl.LightningModule):
    """The loss of a sample x is x · w, scaled part by part: its gradient is known.

    Args:
        pull: factor of each part's loss; 0 detaches the part.
        make: builds the optimizer from the module.
    """

    def __init__(self, pull: dict[str, float], make: Any) -> None:
        super().__init__()
        self.network = nn.ModuleDict({name: nn.Linear(4, 1, bias=False) for name in pull})
        for number, layer in enumerate(self.network.values(), start=1):
            nn.init.constant_(layer.weight, float(number))
        self.pull, self.make = pull, make
        self.waiting: set[str] = set()

    def named_parts(self) -> dict[str, Part]:
        parts = children_as_parts(self.network)
        return {name: part._replace(should_learn=name not in self.waiting) for name, part in parts.items()}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        terms = [pull * self.network[name](batch).sum() for name, pull in self.pull.items() if pull]
        return torch.stack(terms).sum()

    def configure_optimizers(self) -> Any:
        return self.make(self)


def fit(module: pl.LightningModule, folder: Path, data: Tensor, *, checkpoint: Path | None = None, **options: Any):
    """Train; the values logged by step and name, and the lines said."""
    said: list[str] = []
    callback = Vitals(options.pop("every", 1), said.append, options.pop("patience", 20))
    logger = MetricsCsv(folder / "metrics.csv")
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[average_weights(0.9), callback],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 1, **options},
    )
    trainer.fit(module, DataLoader(data, batch_size=1), ckpt_path=checkpoint, weights_only=True)
    logger.save()
    rows = read_metrics(logger.file) if logger.file.exists() else []
    found = {(step, name): value for step, _, name, value in rows}
    return found, said, trainer


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.5, weight_decay=0.1)


def test_a_step_of_sgd_by_hand(tmp_path: Path) -> None:
    """Weights 2, gradient 2 (mean of samples 1 and 3): the update is 0.5 · (2 + 0.1 · 2), and 0.9 remains."""
    data = torch.tensor([[1.0] * 4, [3.0] * 4])
    found, _, _ = fit(Sum({"first": 1.0, "head": 1.0}, sgd), tmp_path, data, accumulate_grad_batches=2)
    assert {step for step, _ in found} == {1}
    assert found[1, "vitals/head/grad_norm"] == pytest.approx(4.0)
    assert found[1, "vitals/head/weight_norm"] == pytest.approx(1.8)
    assert found[1, "vitals/head/update_norm"] == pytest.approx(2.2)
    assert found[1, "vitals/head/update_over_lr"] == pytest.approx(2.2)


def test_a_step_of_adam_by_hand_at_each_groups_own_rate(tmp_path: Path) -> None:
    """Adam's first step is lr · g / (|g| + eps)."""

    def adam(module: Any) -> Any:
        groups = [{"params": list(layer.parameters())} for layer in module.network.values()]
        groups[1]["lr"] = 0.01
        return torch.optim.Adam(groups, lr=0.1, eps=1.0)

    found, _, _ = fit(Sum({"first": 1.0, "head": 3.0}, adam), tmp_path, torch.tensor([[1.0] * 4]))
    assert found[1, "vitals/first/update_over_lr"] == pytest.approx(0.5)
    assert found[1, "vitals/first/update_norm"] == pytest.approx(2 * 0.1 * 0.5, rel=1e-5)
    assert found[1, "vitals/head/update_over_lr"] == pytest.approx(0.75, rel=1e-5)
    assert found[1, "vitals/head/update_norm"] == pytest.approx(2 * 0.01 * 0.75, rel=1e-4)
    assert found[1, "vitals/head/grad_norm"] == pytest.approx(6.0)


def test_the_median_of_adams_second_moment() -> None:
    parameter = nn.Parameter(torch.zeros(5))
    parameter.grad = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    optimizer = torch.optim.Adam([parameter], lr=0.1)
    module: Any = SimpleNamespace(named_parts=lambda: {"all": Part([parameter])})
    held = vitals_module.hold(module, optimizer)
    optimizer.step()
    assert held is not None
    assert vitals_module.measure(held, optimizer)[0, 4].item() == pytest.approx(3.0, rel=1e-4)


def test_every_so_many_steps_and_nothing_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    hold = vitals_module.hold
    monkeypatch.setattr(vitals_module, "hold", lambda *a: calls.append(1) or hold(*a))
    found, _, _ = fit(Sum({"head": 1.0}, sgd), tmp_path, torch.ones(10, 4), every=4)
    assert {step for step, name in found if name.startswith("vitals/")} == {4, 8}
    assert len(calls) == 2


def test_it_changes_no_step_of_the_training(tmp_path: Path) -> None:
    seen, unseen = (Sum({"head": 1.0}, sgd) for _ in range(2))
    fit(seen, tmp_path, torch.rand(6, 4, generator=torch.Generator().manual_seed(0)), every=1)
    (tmp_path / "other").mkdir()
    fit(unseen, tmp_path / "other", torch.rand(6, 4, generator=torch.Generator().manual_seed(0)), every=100)
    assert torch.equal(seen.network["head"].weight, unseen.network["head"].weight)


def test_starved_parts_are_named_with_the_reason_and_a_healthy_one_is_not(tmp_path: Path) -> None:
    def adam(module: Any) -> Any:
        layers = module.network
        layers["frozen"].requires_grad_(False)
        kept = [layers[name].weight for name in ("healthy", "swallowed", "detached", "waiting")]
        return torch.optim.Adam([{"params": kept[:1]}, {"params": kept[1:], "eps": 1e-2}], lr=1e-3)

    pull = {"healthy": 1e-3, "swallowed": 1e-6, "detached": 0.0, "frozen": 1.0, "waiting": 0.0, "forgotten": 1.0}
    module = Sum(pull, adam)
    module.waiting = {"waiting"}
    noise = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    _, said, _ = fit(module, tmp_path, noise)
    lines = {line.split()[1]: line for line in said}
    assert len(said) == len(lines) == 4, said
    assert "Adam's eps 0.01 swallows its gradient" in lines["swallowed"]
    assert "its gradient is zero" in lines["detached"]
    assert "frozen" in lines["frozen"].split(":", 2)[2]
    assert "the optimizer holds none of its parameters" in lines["forgotten"]
    assert all("steps 1 to 21" in line for line in said)


def test_under_sgd_a_part_is_starved_by_the_share_of_its_weights_that_changes(tmp_path: Path) -> None:
    module = Sum({"healthy": 1e-4, "slow": 1e-8}, lambda module: torch.optim.SGD(module.parameters(), lr=0.1))
    _, said, _ = fit(module, tmp_path, torch.ones(25, 4))
    assert len(said) == 1
    assert "slow does not learn" in said[0]
    assert "of its weights' norm" in said[0]


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    data = torch.ones(25, 4)
    module = Sum({"healthy": 1.0, "detached": 0.0}, sgd)
    _, said, trainer = fit(module, tmp_path, data, max_steps=15)
    assert said == []
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = Sum({"healthy": 1.0, "detached": 0.0}, sgd)
    _, said, _ = fit(again, tmp_path, data, checkpoint=tmp_path / "last.ckpt", max_steps=25, max_epochs=2)
    assert len(said) == 1
    assert "detached does not learn (steps 1 to 21)" in said[0]


def test_a_step_that_was_left_out_is_not_measured(tmp_path: Path) -> None:
    class Without(Sum):
        def on_after_backward(self) -> None:
            if self.global_step == 1:
                for parameter in self.parameters():
                    parameter.grad = None

    found, _, _ = fit(Without({"head": 1.0}, sgd), tmp_path, torch.ones(3, 4))
    assert {step for step, name in found if name.startswith("vitals/")} == {1, 3}


def test_a_gradient_that_the_scaler_refuses_is_not_logged(tmp_path: Path) -> None:
    found, _, _ = fit(Sum({"head": float("inf")}, sgd), tmp_path, torch.ones(1, 4))
    assert not any(name.startswith("vitals/") for _, name in found)


def test_a_large_part_is_sampled_over_all_channels_and_places_of_a_kernel() -> None:
    weight = torch.arange(256 * 64 * 9.0).view(256, 64, 3, 3).contiguous(memory_format=torch.channels_last)
    stride = vitals_module._stride(weight.numel())
    sample = vitals_module._sample(weight, stride).long()
    assert vitals_module.SAMPLE / 2 < len(sample) <= vitals_module.SAMPLE
    assert len(set((sample % 9).tolist())) == 9
    assert len(set((sample // 9 % 64).tolist())) == 64
    assert sample.median().item() == pytest.approx(weight.numel() / 2, rel=0.02)
