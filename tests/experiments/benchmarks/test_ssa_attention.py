import torch

from experiments.benchmarks import ssa_attention
from experiments.benchmarks.measuring import Setting
from experiments.benchmarks.ssa_attention import (
    LAYERS,
    WIDTH,
    FullWeights,
    kept_for_backward,
    lines,
    naive,
    ours,
    ours_and_rows,
    pytorchs_and_rows,
    tokens_alone,
    transformer_encoder,
    weights_and_rows,
)
from lightning_modules.ssa.attention import Encoder


def test_both_forms_compute_the_same_and_ours_keeps_less() -> None:
    torch.manual_seed(0)
    theirs = FullWeights(0.1).eval()
    encoder = Encoder(LAYERS, WIDTH, 2 * WIDTH, 1, 0.1).eval()
    encoder.load_state_dict(theirs.state_dict())
    features, cells = torch.randn(1, WIDTH, 16, 16), torch.tensor([[3, 200]])
    torch.testing.assert_close(ours(encoder, features, cells), naive(theirs, features, cells), atol=1e-5, rtol=1e-5)
    little = kept_for_backward(lambda: ours(encoder, features, cells), encoder)
    assert little < kept_for_backward(lambda: naive(theirs, features, cells), theirs)


def test_pytorchs_encoder_is_the_same_without_rows_and_positions(monkeypatch) -> None:
    monkeypatch.setattr(ssa_attention, "position_embedding", lambda height, width, channels: torch.zeros(channels))
    torch.manual_seed(0)
    theirs, peer = FullWeights(0.1).eval(), transformer_encoder(0.1).eval()
    peer.load_state_dict(theirs.state_dict())
    features = torch.randn(1, WIDTH, 5, 6)
    tokens, _ = theirs(features.flatten(2).transpose(1, 2), torch.zeros(WIDTH))
    torch.testing.assert_close(tokens_alone(peer, features, torch.tensor([[3]])), tokens.square().mean())


def test_all_forms_of_attention_agree() -> None:
    torch.manual_seed(1)
    inputs, cells = torch.randn(3, 1, 1, 30, 8), torch.tensor([[3, 20]])
    expected = weights_and_rows(*inputs, 0.0, cells)
    for form in (pytorchs_and_rows, ours_and_rows):
        torch.testing.assert_close(form(*inputs, 0.0, cells), expected)


def test_lines_of_time_and_memory() -> None:
    found = lines(Setting(), side=20)
    assert len(found) == 8
    assert [line.unexplained for line in found] == [[]] * 8
    assert all(line.limit is not None and line.limit < line.ours for line in found)
    memory = {line.name: line for line in found if line.unit == "MB"}
    ratios = {name: line.ratio for name, line in memory.items() if line.ratio is not None}
    assert len(ratios) == 4
    assert min(ratios.values()) > 1
    assert ratios["SSA attention, 400 tokens, dropout 0.1, memory"] > 1.5
