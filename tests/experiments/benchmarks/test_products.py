"""Multiply-accumulates are counted, and a limit is what they take at a large product's rate."""

import pytest
import torch
from torch import nn

from experiments.benchmarks import products
from experiments.benchmarks.measuring import Setting
from experiments.benchmarks.products import matrix_rate, operations, race_beside_product


def test_operations_are_two_a_multiply_accumulate() -> None:
    left, right = torch.randn(3, 4), torch.randn(4, 5, requires_grad=True)
    assert operations(lambda: left @ right) == 2 * 3 * 4 * 5
    assert operations(lambda: (left @ right).sum().backward()) == 2 * 2 * 3 * 4 * 5  # left has no gradient
    layer = nn.Conv2d(2, 6, 3, padding=1)
    assert operations(lambda: layer(torch.randn(1, 2, 7, 8))) == 2 * 6 * 2 * 9 * 7 * 8
    assert operations(lambda: left + 1) == 0


def test_a_limit_is_of_the_better_rate(monkeypatch) -> None:
    rates = iter([2e9, 1e9])
    monkeypatch.setattr(products, "matrix_rate", lambda setting: next(rates))
    times, limit = race_beside_product(Setting(), {"ours": lambda: None}, 4e9, repeats=2)
    assert limit == 2000  # ms
    assert list(times) == ["ours"]


def test_nothing_that_is_all_product_is_far_below_its_limit() -> None:
    side = 512
    left, right = torch.randn(side, side), torch.randn(side, side)
    run = {"ours": lambda: left @ right}
    times, limit = race_beside_product(Setting(), run, 2 * side**3, repeats=5)
    assert times["ours"] > limit / 2
    assert matrix_rate(Setting()) > 0


@pytest.mark.parametrize("work", [0.0, 1e9])
def test_options_are_the_races(work: float) -> None:
    calls: list[int] = []
    race_beside_product(Setting(), {"ours": lambda: calls.append(0)}, work, repeats=3, warm=False)
    assert len(calls) == 3
