import pytest
import torch
from torchvision.ops import generalized_box_iou_loss

from losses.giou import GIoULoss


def random_boxes(count: int) -> torch.Tensor:
    corner = torch.rand(count, 2) * 50
    return torch.cat([corner, corner + 1 + torch.rand(count, 2) * 40], dim=1)


def test_equals_torchvision() -> None:
    torch.manual_seed(3)
    a, b = random_boxes(64), random_boxes(64)
    torch.testing.assert_close(GIoULoss()(a, b), generalized_box_iou_loss(a, b, reduction="mean"))


def test_equal_far_and_empty_boxes() -> None:
    box = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert GIoULoss()(box, box).item() == pytest.approx(0.0)
    assert GIoULoss()(box, box + 1e4).item() == pytest.approx(2.0, abs=1e-3)
    assert GIoULoss()(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(1.0)


def test_masked_pairs_neither_cost_nor_count() -> None:
    a, b = random_boxes(6).requires_grad_(), random_boxes(6)
    mask = torch.tensor([True, False, True, False, False, True])
    loss = GIoULoss()(a, b, mask)
    torch.testing.assert_close(loss, GIoULoss()(a[mask], b[mask]))
    nothing = GIoULoss()(a, b, torch.zeros(6, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0.0
    assert a.grad is not None
    assert not a.grad.any()
