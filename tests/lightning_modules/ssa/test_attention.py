import math

import pytest
import torch
from torch import nn

from lightning_modules.ssa.attention import (
    Encoder,
    EncoderLayer,
    QueryKey,
    SelfAttention,
    attention_rows,
    position_embedding,
)


def reference_and_ours(*, width: int = 24, heads: int = 1, dropout: float = 0.0) -> tuple[nn.Module, SelfAttention]:
    torch.manual_seed(0)
    reference = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
    nn.init.normal_(reference.in_proj_bias, std=0.3)
    ours = SelfAttention(width, heads, dropout)
    ours.load_state_dict(reference.state_dict())
    return reference, ours


@pytest.mark.parametrize("heads", [1, 4])
def test_tokens_and_rows_are_those_of_multihead_attention(heads: int) -> None:
    reference, ours = reference_and_ours(heads=heads)
    reference.eval()
    tokens, position = torch.randn(2, 30, 24), torch.randn(1, 30, 24)
    query = tokens + position
    expected, weights = reference(query, query, tokens)
    mixed, query_key = ours.eval()(tokens, position)
    torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=0)
    cells = torch.tensor([[0, 7, 29, 7], [3, 3, 12, 1]])
    rows = attention_rows((query_key,), cells)
    torch.testing.assert_close(rows, weights.gather(1, cells[..., None].expand(-1, -1, 30)), atol=1e-6, rtol=0)


def test_rows_are_taken_before_dropout() -> None:
    reference, ours = reference_and_ours(dropout=0.5)
    tokens, position = torch.randn(1, 20, 24), torch.randn(1, 20, 24)
    query = tokens + position
    undropped = reference.eval()(query, query, tokens)[1]
    dropped = reference.train()(query, query, tokens)[1]
    assert (dropped == 0).any()  # what PyTorch returns in training is not A
    mixed, query_key = ours.train()(tokens, position)
    rows = attention_rows((query_key,), torch.arange(20)[None])
    torch.testing.assert_close(rows, undropped, atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.sum(2), torch.ones(1, 20))
    assert not torch.allclose(mixed, ours.eval()(tokens, position)[0])


def test_gradient_of_a_few_rows_is_that_of_the_full_matrix() -> None:
    torch.manual_seed(1)
    query = torch.randn(1, 2, 15, 4, dtype=torch.float64, requires_grad=True)
    key = torch.randn(1, 2, 15, 4, dtype=torch.float64, requires_grad=True)
    weight, cells = torch.randn(1, 3, 15, dtype=torch.float64), torch.tensor([[2, 9, 2]])
    full = (query @ key.transpose(2, 3) / math.sqrt(4)).softmax(3).mean(1)
    expected = torch.autograd.grad((full[:, cells[0]] * weight).sum(), (query, key))
    actual = torch.autograd.grad((attention_rows((QueryKey(query, key),), cells) * weight).sum(), (query, key))
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_rows_are_full_precision_under_autocast() -> None:
    torch.manual_seed(2)
    layer = QueryKey(torch.randn(1, 1, 40, 16), torch.randn(1, 1, 40, 16))
    cells = torch.arange(40)[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rows = attention_rows((layer,), cells)
    assert rows.dtype == torch.float32
    assert torch.equal(rows, attention_rows((layer,), cells))


def test_naive_association_is_the_mean_of_all_layers() -> None:
    torch.manual_seed(3)
    layers = tuple(QueryKey(torch.randn(2, 1, 6, 4), torch.randn(2, 1, 6, 4)) for _ in range(3))
    cells = torch.tensor([[0, 5], [1, 1]])
    expected = sum(attention_rows((layer,), cells) for layer in layers) / 3
    torch.testing.assert_close(attention_rows(layers, cells), expected)


def test_no_rows_asked_for() -> None:
    layer = QueryKey(torch.randn(2, 1, 6, 4), torch.randn(2, 1, 6, 4))
    assert attention_rows((layer,), torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 6)


def test_position_embedding_by_hand() -> None:
    embedding = position_embedding(3, 5, 8).view(3, 5, 8)
    row, column = 1, 3
    y, x = 2 * math.pi * 2 / 3, 2 * math.pi * 4 / 5
    expected = [f(angle / 10000**e) for angle in (y, x) for e in (0, 0.5) for f in (math.sin, math.cos)]
    torch.testing.assert_close(embedding[row, column], torch.tensor(expected), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="width 6"):
        position_embedding(2, 2, 6)


def test_encoder_layer_is_pytorchs_post_norm_layer() -> None:
    torch.manual_seed(4)
    theirs = nn.TransformerEncoderLayer(16, 2, 40, dropout=0.0, batch_first=True).eval()
    ours = EncoderLayer(16, 40, 2, 0.0)
    ours.load_state_dict(theirs.state_dict())
    tokens = torch.randn(2, 9, 16)
    torch.testing.assert_close(ours(tokens, torch.zeros(1, 9, 16))[0], theirs(tokens), atol=1e-6, rtol=0)


def test_encoder_gives_every_layer_and_keeps_the_order_of_cells() -> None:
    torch.manual_seed(5)
    encoder = Encoder(3, 16, 32, 1, 0.0)
    features = torch.randn(2, 16, 4, 6)
    encoded = encoder(features)
    assert len(encoded.layers) == len(encoded.inputs) == 3
    torch.testing.assert_close(encoded.inputs[0].transpose(1, 2).view(2, 16, 4, 6), features)
    single = encoder(features[1:])
    torch.testing.assert_close(single.tokens, encoded.tokens[1:], atol=1e-5, rtol=0)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="heads 5"):
        SelfAttention(16, 5, 0.0)
