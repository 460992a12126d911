import math

import pytest
import torch

from losses.spatial_cross_entropy import SpatialCrossEntropy


def by_loop(logits: torch.Tensor, cells: torch.Tensor, mask: torch.Tensor, allowed: torch.Tensor) -> float:
    total, count = 0.0, 0
    for n in range(logits.shape[0]):
        for k in range(logits.shape[1]):
            if not mask[n, k]:
                continue
            values = logits[n, k].double().flatten()
            normal = values.exp()[allowed[n, 0].flatten()].sum().item()
            total -= math.log(math.exp(values[cells[n, k]].item()) / normal)
            count += 1
    return total / max(count, 1)


def test_equals_the_loop_and_ignores_forbidden_cells() -> None:
    torch.manual_seed(2)
    logits = torch.randn(3, 4, 5, 6) * 3
    allowed = torch.ones(3, 1, 5, 6, dtype=torch.bool)
    allowed[:, :, 3:] = False
    cells, mask = torch.randint(0, 18, (3, 4)), torch.rand(3, 4) < 0.7
    loss = SpatialCrossEntropy()
    assert loss(logits, cells, mask, allowed).item() == pytest.approx(by_loop(logits, cells, mask, allowed), rel=1e-5)
    changed = logits.clone()
    changed[:, :, 3:] = 1e6
    assert loss(changed, cells, mask, allowed).item() == loss(logits, cells, mask, allowed).item()


def test_uniform_maps_cost_the_logarithm_of_their_size() -> None:
    loss = SpatialCrossEntropy()(torch.zeros(2, 7, 9), torch.tensor([0, 62]), torch.tensor([True, True]))
    assert loss.item() == pytest.approx(math.log(63))


def test_without_targets_zero_with_zero_gradient() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = SpatialCrossEntropy()(logits, torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_forbidden_target_that_does_not_count_gives_no_nan() -> None:
    logits = torch.randn(2, 2, 2, requires_grad=True)
    allowed = torch.tensor([[False, False], [True, True]])
    loss = SpatialCrossEntropy()(logits, torch.tensor([0, 2]), torch.tensor([False, True]), allowed)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_half_precision_is_summed_in_float32() -> None:
    # 65,536 equal bf16 logits: in bf16 the sum of exponentials would stop growing at 256
    logits = torch.zeros(1, 256, 256, dtype=torch.bfloat16)
    loss = SpatialCrossEntropy()(logits, torch.tensor([7]), torch.tensor([True]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(65536), rel=1e-6)
