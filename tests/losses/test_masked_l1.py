import torch

from losses.masked_l1 import MaskedL1


def test_mean_over_unmasked_by_hand() -> None:
    prediction = torch.tensor([[1.0, 2.0], [3.0, 100.0]])
    target = torch.tensor([[0.0, 4.0], [6.0, 0.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert MaskedL1()(prediction, target, mask).item() == (1.0 + 2.0 + 3.0) / 3


def test_a_broadcast_mask_counts_every_coordinate() -> None:
    prediction, target = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    mask = torch.tensor([True, False, True, False])
    assert MaskedL1()(prediction, target, mask).item() == 1.0
    assert MaskedL1()(prediction, target, mask, torch.tensor(6.0)).item() == 2.0


def test_nothing_to_regress_is_zero_with_zero_gradient() -> None:
    prediction = torch.randn(5, requires_grad=True)
    loss = MaskedL1()(prediction, torch.full((5,), torch.inf), torch.zeros(5, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert prediction.grad is not None
    assert prediction.grad.tolist() == [0.0] * 5
