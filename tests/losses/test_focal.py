import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from losses.focal import SigmoidFocalLoss


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 0.0), (0.75, 1.5)])
def test_equals_torchvision(alpha: float, gamma: float) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 40) * 4, torch.rand(3, 40) < 0.2
    expected = sigmoid_focal_loss(logits, targets.float(), alpha, gamma, reduction="sum") / targets.sum()
    torch.testing.assert_close(SigmoidFocalLoss(alpha, gamma)(logits, targets), expected)


def test_one_element_by_hand() -> None:
    # p = 0.5: alpha 0.25 · 0.5² · log 2
    loss = SigmoidFocalLoss()(torch.zeros(1), torch.ones(1))
    assert loss.item() == pytest.approx(0.25 * 0.25 * 0.6931472)


def test_masked_elements_neither_cost_nor_count() -> None:
    logits = torch.tensor([2.0, -1.0, 50.0, -50.0], requires_grad=True)
    targets = torch.tensor([True, False, False, True])
    mask = torch.tensor([True, True, False, False])
    loss = SigmoidFocalLoss()(logits, targets, mask)
    torch.testing.assert_close(loss, SigmoidFocalLoss()(logits[:2], targets[:2]))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[2:].tolist() == [0.0, 0.0]


def test_without_positives_negatives_count_undivided() -> None:
    logits = torch.randn(5)
    targets = torch.zeros(5, dtype=torch.bool)
    expected = sigmoid_focal_loss(logits, targets.float(), reduction="sum")
    torch.testing.assert_close(SigmoidFocalLoss()(logits, targets), expected)


def test_normalizer_and_half_precision() -> None:
    logits, targets = torch.randn(8), torch.ones(8, dtype=torch.bool)
    loss = SigmoidFocalLoss()
    torch.testing.assert_close(loss(logits, targets, None, torch.tensor(2.0)), loss(logits, targets) * 4)
    assert loss(logits.bfloat16(), targets).dtype == torch.float32


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = SigmoidFocalLoss()(logits, torch.tensor([False, True]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
