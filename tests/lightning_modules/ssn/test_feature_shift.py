import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_modules.ssn.config import CorrelationAttention, FeatureShiftConfig
from lightning_modules.ssn.feature_shift import Attention, FeatureShiftModule
from lightning_modules.ssn.folded_shift import FoldedShift


def module(kind: CorrelationAttention = CorrelationAttention.normalized, **changes) -> FeatureShiftModule:
    torch.manual_seed(0)
    shift = FeatureShiftModule(4, 3, FeatureShiftConfig(**{"correlation_attention": kind, "insert_step": 0} | changes))
    nn.init.normal_(shift.expand.weight)
    return shift.double()


def explicit_convolution(shift: FeatureShiftModule, maps: torch.Tensor) -> torch.Tensor:
    """Σ_k Σ_c' w^FSM_{c,k,c'}(x, y) P*_{c'}(x − Δx_k, y − Δy_k) of Eq. 4 with the weights of Eq. 5, without biases."""
    alpha, beta = shift.reduce.weight[..., 0, 0], shift.expand.weight[..., 0, 0]
    height, width = maps.shape[2:]
    attention = torch.ones(1) if shift.attention is None else shift.attention(maps)
    added = torch.zeros_like(maps)
    for k, (dx, dy) in enumerate(shift.shift.offsets):
        y, x = torch.arange(height) - dy, torch.arange(width) - dx
        grid = torch.stack(torch.meshgrid((2 * y + 1) / height - 1, (2 * x + 1) / width - 1, indexing="ij")[::-1], -1)
        moved = F.grid_sample(maps, grid.expand(len(maps), -1, -1, -1), align_corners=False)  # P*, Eq. 3
        gate = attention if shift.attention is None else attention[:, k, None]
        for c in range(4):
            for c_in in range(4):
                weight = beta[c, k] * alpha[k, c_in] * gate  # Eq. 5
                added[:, c] += (weight * moved[:, c_in, None])[:, 0]
    return added


@pytest.mark.parametrize("kind", CorrelationAttention)
def test_is_the_convolution_of_equations_4_and_5(kind):
    shift, maps = module(kind), torch.rand(2, 4, 5, 6, dtype=torch.float64)
    for part in (shift.reduce, shift.expand):
        nn.init.zeros_(part.bias)
    added = explicit_convolution(shift, maps)
    torch.testing.assert_close(shift.non_local_maps(maps), added)
    torch.testing.assert_close(shift(maps), F.relu(F.batch_norm(maps + added, None, None, training=True)))


def stirred(**changes) -> FeatureShiftModule:
    """In eval mode, its normalisation as after training."""
    shift = module(**changes).eval()
    nn.init.normal_(shift.norm.running_mean)
    nn.init.uniform_(shift.norm.running_var, 0.5, 2.0)
    nn.init.uniform_(shift.norm.weight, -1.5, 1.5)
    nn.init.normal_(shift.norm.bias)
    return shift


@pytest.mark.parametrize("kind", CorrelationAttention)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@torch.no_grad()
def test_folded_it_computes_the_same(kind, layout):
    shift = stirred(kind=kind)
    maps = torch.randn(2, 4, 6, 5, dtype=torch.float64).contiguous(memory_format=layout)
    expected = shift(maps)
    folded = shift.folded()
    assert isinstance(folded, FoldedShift)
    torch.testing.assert_close(folded(maps), expected)
    assert torch.equal(shift(maps), expected)  # left as it was


@torch.no_grad()
def test_folded_it_computes_the_same_in_mixed_precision():
    shift, maps = stirred().float(), torch.randn(2, 4, 6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(shift.folded()(maps).float(), shift(maps).float(), rtol=0.05, atol=0.05)


@torch.no_grad()
def test_folded_positions_are_exact_on_bfloat16_maps():
    shift = stirred(kind=CorrelationAttention.scaled)
    maps = torch.randn(2, 4, 6, 5).bfloat16()
    expected = shift(maps.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = shift.float().folded()(maps)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_what_waits_is_not_folded():
    shift = waiting()
    assert shift.folded() is shift


@pytest.mark.parametrize(("to_area", "total"), [(False, 1.0), (True, 30.0)])
def test_attention_sums_to_one_or_to_the_area(to_area, total):
    attention = Attention(4, 3, CorrelationAttention.scaled if to_area else CorrelationAttention.normalized)
    shared = attention(torch.randn(2, 4, 5, 6) * 50)
    assert (shared >= 0).all()
    torch.testing.assert_close(shared.sum((2, 3)), torch.full((2, 3), total))


def test_attention_that_vanishes_everywhere_is_zero_and_not_nan():
    attention = Attention(4, 3, CorrelationAttention.normalized)
    nn.init.constant_(attention.project.bias, -1e4)
    assert torch.equal(attention(torch.rand(1, 4, 5, 6)), torch.zeros(1, 3, 5, 6))


def test_softplus_is_equation_6():
    attention, maps = Attention(1, 1, CorrelationAttention.normalized), torch.tensor([[[[0.0, 1.0]]]])
    nn.init.ones_(attention.project.weight)
    nn.init.zeros_(attention.project.bias)
    at_zero, at_one = 0.6931471805599453, 1.3132616875182228  # log 2, log(1 + e)
    expected = torch.tensor([[[[at_zero, at_one]]]]) / (at_zero + at_one)
    torch.testing.assert_close(attention(maps), expected)


def test_without_shifting_there_are_no_offsets():
    shift = module(shifting=False)
    assert not any("offsets" in name for name, _ in shift.named_parameters())
    maps = torch.rand(1, 4, 5, 6, dtype=torch.float64)
    gated = shift.reduce(maps) * shift.attention(maps)
    torch.testing.assert_close(shift.non_local_maps(maps), shift.expand(gated))


def waiting(steps: int = 60) -> FeatureShiftModule:
    """Not inserted yet, having watched ``steps`` batches."""
    torch.manual_seed(0)
    shift = FeatureShiftModule(4, 3, FeatureShiftConfig(insert_step=6000))
    for _ in range(steps):
        shift(seen())
    return shift


def seen() -> torch.Tensor:
    return F.relu(torch.randn(32, 4, 8, 8) * torch.tensor([0.1, 1.0, 2.0, 5.0]).view(1, 4, 1, 1) + 0.5)


def test_before_insertion_it_hands_its_input_through_and_has_zero_gradients():
    shift, maps = waiting(0), seen().requires_grad_()
    passed = shift(maps)
    assert torch.equal(passed, maps)
    passed.sum().backward()
    assert torch.equal(maps.grad, torch.ones_like(maps))
    assert all(torch.equal(parameter.grad, torch.zeros_like(parameter)) for parameter in shift.parameters())
    assert shift.eval()(maps) is maps


@pytest.mark.parametrize("steps", [1, 60])
@pytest.mark.parametrize(("training", "tolerance"), [(True, 0.05), (False, 1e-6)])  # a batch has its own statistics
def test_insertion_is_the_identity_on_what_was_seen(steps, training, tolerance):
    shift = waiting(steps).train(training)
    shift.insert()
    maps = seen()
    assert (shift(maps) - maps).norm() < tolerance * maps.norm()
    shift.train().zero_grad()
    shift(maps).square().sum().backward()
    assert shift.expand.weight.grad.abs().sum() > 0


def test_statistics_are_those_of_what_was_seen():
    torch.manual_seed(0)
    maps, shift = seen(), waiting(0)
    shift(maps)
    shift.insert()
    torch.testing.assert_close(shift.norm.bias, maps.mean((0, 2, 3)))
    torch.testing.assert_close(shift.norm.weight, (maps.transpose(0, 1).flatten(1).var(1) + shift.norm.eps).sqrt())
    untouched = waiting(0)
    untouched.insert()
    assert torch.equal(untouched.norm.running_var, torch.ones(4))


def test_insertion_is_part_of_a_checkpoint_and_happens_once():
    shift = waiting()
    before = copy.deepcopy(shift.state_dict())
    shift.insert()
    nn.init.ones_(shift.norm.weight)
    shift.insert()
    assert torch.equal(shift.norm.weight, torch.ones(4))
    resumed = waiting(0)
    resumed.load_state_dict(shift.state_dict())
    assert resumed.is_inserted
    resumed.load_state_dict(before)
    assert not resumed.is_inserted


def test_compiled_code_follows_the_insertion():
    shift, maps = waiting().eval(), seen()
    compiled = torch.compile(shift, backend="eager", fullgraph=True)
    assert torch.equal(compiled(maps), maps)
    shift.insert()
    nn.init.normal_(shift.expand.weight)
    torch.testing.assert_close(compiled(maps), shift(maps))
    assert not torch.equal(compiled(maps), maps)
