"""Shares of two terms whose gradients are known; nothing of the training is touched."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from callbacks.term_shares import term_shares

TRAINER: Any = SimpleNamespace(precision_plugin=SimpleNamespace(train_step_context=contextlib.nullcontext))


class Two(nn.Module):
    """Features f of two tensors; terms 3 Σf, Σ2f of the first alone, and one of weight 0."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5))
        self.shared_features = Split()
        self.loss_weights = {"both": 3.0, "first": 1.0, "off": 0.0}

    def loss_terms(self, batch: Tensor) -> dict[str, Tensor]:
        first, second = self.shared_features(self.trunk(batch))
        first.mul_(1.0)  # a layer that overwrites what it reads
        return {"both": first.sum() + second.sum(), "first": 2 * first.sum(), "off": first.sum()}


class Split(nn.Module):
    def forward(self, features: Tensor) -> list[Tensor]:
        return [features, features * 1.0]


def test_norms_of_the_weighted_terms_gradients() -> None:
    norms = term_shares(TRAINER, Two(), torch.randn(8, 2))
    assert set(norms) == {"both", "first"}
    assert norms["both"].item() == pytest.approx(3 * 32**0.5)
    assert norms["first"].item() == pytest.approx(2 * 16**0.5)


def test_a_gradient_scaler_changes_nothing() -> None:
    plugin = SimpleNamespace(
        train_step_context=contextlib.nullcontext, scaler=SimpleNamespace(get_scale=lambda: 2.0**16)
    )
    trainer: Any = SimpleNamespace(precision_plugin=plugin)
    norms = term_shares(trainer, Two(), torch.randn(8, 2))
    assert norms["first"].item() == pytest.approx(8.0)


def test_random_state_buffers_and_gradients_stay() -> None:
    module = Two().train()
    module.trunk[0].weight.grad = torch.tensor([5.0, 6.0])
    before = [buffer.clone() for buffer in module.buffers()]
    state = torch.get_rng_state()
    term_shares(TRAINER, module, torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, other) for one, other in zip(module.buffers(), before, strict=True))
    assert module.trunk[0].weight.grad.tolist() == [5.0, 6.0]
    assert module.trunk[0].bias.grad is None
    assert not module.shared_features._forward_hooks


def test_a_module_of_one_term_or_without_shared_features_has_no_shares() -> None:
    module = Two()
    module.loss_terms = lambda batch: {"both": module.shared_features(batch)[0].sum()}  # type: ignore[method-assign]  # a network of a single term
    assert term_shares(TRAINER, module, torch.randn(8, 2)) == {}
    assert term_shares(TRAINER, nn.Linear(1, 1), torch.randn(8, 2)) == {}
