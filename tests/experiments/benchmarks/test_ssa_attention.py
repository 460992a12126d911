import torch

from experiments.benchmarks.ssa_attention import LAYERS, WIDTH, FullWeights, kept_for_backward, naive, ours
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
