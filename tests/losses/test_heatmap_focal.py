import math

import pytest
import torch

from losses.heatmap_focal import HeatmapFocalLoss


def by_loop(logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> float:
    """CornerNet's Eq. 1 in float64, one cell at a time."""
    total, ones = 0.0, 0
    for logit, target, counts in zip(
        logits.double().flatten().tolist(), targets.double().flatten().tolist(), mask.flatten().tolist(), strict=True
    ):
        if not counts:
            continue
        p = min(max(1 / (1 + math.exp(-logit)), 1e-4), 1 - 1e-4)
        if target == 1:
            total -= (1 - p) ** 2 * math.log(p)
            ones += 1
        else:
            total -= (1 - target) ** 4 * p**2 * math.log(1 - p)
    return total / max(ones, 1)


@pytest.mark.parametrize("with_keypoints", [True, False])
def test_equals_the_loop(with_keypoints: bool) -> None:
    torch.manual_seed(1)
    logits, targets = torch.randn(2, 3, 5, 6) * 3, torch.rand(2, 3, 5, 6) * 0.99
    if with_keypoints:
        targets[0, 1, 2, 3] = targets[1, 2, 0, 0] = 1.0
    mask = torch.rand(2, 3, 5, 6) < 0.8
    expected = by_loop(logits, targets, mask)
    assert HeatmapFocalLoss()(logits, targets, mask).item() == pytest.approx(expected, rel=1e-5)
    everything = torch.ones_like(mask)
    assert HeatmapFocalLoss()(logits, targets).item() == pytest.approx(by_loop(logits, targets, everything), rel=1e-5)


def test_saturated_logits_are_clamped() -> None:
    logits = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = HeatmapFocalLoss()(logits, torch.tensor([0.0, 1.0]))
    loss.backward()
    assert loss.item() == pytest.approx(2 * (1 - 1e-4) ** 2 * -math.log(1e-4), rel=1e-3)


def test_a_broadcast_mask_leaves_cells_out_of_every_channel() -> None:
    logits, targets = torch.randn(1, 4, 3, 3), torch.rand(1, 4, 3, 3)
    mask = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    assert HeatmapFocalLoss()(logits, targets, mask).item() == 0.0
