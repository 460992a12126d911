import pytest
import torch
from torch.nn import functional as F

from lightning_modules.ssa import dropped_attention as module
from lightning_modules.ssa.attention import SelfAttention
from lightning_modules.ssa.dropped_attention import attend, dropped_attention


def inputs(dtype: torch.dtype = torch.float64, length: int = 11) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(2, length, 3, 4, dtype=dtype, generator=generator).transpose(1, 2).requires_grad_()
        for _ in range(3)
    )


@pytest.mark.parametrize("in_cache", [1, 40, 1000])
def test_is_the_formula_for_a_given_mask(in_cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WEIGHTS_IN_CACHE", in_cache)  # rows one by one, in blocks with a rest, at once
    values = query, key, value = inputs()
    kept = torch.rand(2, 3, 11, 11) < 0.7
    found = module._DroppedAttention.apply(query, key, value, kept, 1.25)
    weights = (query @ key.transpose(2, 3) / 2).softmax(3) * kept * 1.25
    expected = weights @ value
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, values, direction), torch.autograd.grad(expected, values, direction)
    )


def test_gradients_are_finite_differences() -> None:
    kept = torch.rand(2, 3, 5, 5) < 0.7
    assert torch.autograd.gradcheck(lambda *each: module._DroppedAttention.apply(*each, kept, 1.4), inputs(length=5))


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_drops_the_share_asked_for_and_divides_by_the_rest(dropout: float) -> None:
    torch.manual_seed(1)
    query, key = torch.randn(2, 2, 2, 90, 90)
    weights = (query @ key.transpose(2, 3) / 90**0.5).softmax(3)
    found = dropped_attention(query, key, torch.eye(90).expand(2, 2, 90, 90), dropout)
    is_dropped = found == 0
    share = is_dropped.double().mean((2, 3))
    assert share.allclose(torch.tensor(dropout).double(), atol=4 * (dropout * (1 - dropout)) ** 0.5 / 90)
    assert not is_dropped[0, 0].equal(is_dropped[1, 1])
    each = is_dropped[..., 1:].double(), is_dropped[..., :-1].double()  # neighbours share a draw and no bits
    assert (each[0] * each[1]).mean().item() == pytest.approx(dropout**2, abs=0.01)
    torch.testing.assert_close(found, torch.where(is_dropped, 0.0, weights / (1 - dropout)), rtol=2e-4, atol=1e-7)


def test_the_seed_decides() -> None:
    query, key, value = inputs()
    torch.manual_seed(2)
    found = attend(query, key, value, 0.5)
    torch.manual_seed(2)
    assert attend(query, key, value, 0.5).equal(found)
    assert not attend(query, key, value, 0.5).equal(found)


def test_without_dropout_is_pytorchs() -> None:
    query, key, value = inputs(torch.float32)
    expected = F.scaled_dot_product_attention(query, key, value)
    assert attend(query, key, value, 0.0).equal(expected)
    torch.testing.assert_close(attend(query, key, value, 1e-9), expected)


def test_bfloat16_goes_through_fp32() -> None:
    rough = tuple(each.detach().requires_grad_() for each in inputs(torch.bfloat16))
    kept = torch.rand(2, 3, 11, 11) < 0.7
    with torch.autocast("cpu", torch.bfloat16):
        found = module._DroppedAttention.apply(*rough, kept, 1.25)
    exact = module._DroppedAttention.apply(*(each.float() for each in rough), kept, 1.25)
    assert found.equal(exact.bfloat16())
    assert {each.dtype for each in torch.autograd.grad(found.sum(), rough)} == {torch.bfloat16}


def test_keeps_a_byte_a_weight() -> None:
    attention = SelfAttention(24, 1, 0.1).train()
    tokens, position = torch.randn(1, 200, 24), torch.zeros(1, 200, 24)
    own = {each.untyped_storage().data_ptr() for each in attention.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        attention(tokens, position)
    tokens_bytes = 200 * 24 * 4  # of inputs with and without position, queries and keys, values, and what comes out
    assert sum(kept.values()) == 200 * 200 + 6 * tokens_bytes
