import pytest
import torch

from losses.gated_offset import GatedOffsetError


def test_only_cells_above_the_gate_count():
    heatmap = torch.tensor([0.39, 0.4, 0.41, 1.0]).view(1, 1, 1, 4)
    offsets = torch.ones(2, 1, 1, 2, 1, 4)
    loss = GatedOffsetError(gate=0.4)(offsets, torch.zeros(1, 1, 2, 1, 4), heatmap)
    assert loss.item() == pytest.approx(2 * 2 * 2)  # stages, cells, axes


def test_mask_and_weight():
    heatmap = torch.ones(2, 1, 1, 3)
    mask = torch.tensor([[True, True, False], [False, False, False]]).view(2, 1, 1, 3)
    weight = torch.tensor([1.0, 5.0, 9.0]).expand(1, 2, 1, 1, 3)
    loss = GatedOffsetError()(torch.ones(1, 2, 1, 2, 1, 3), torch.zeros(2, 1, 2, 1, 3), heatmap, mask, weight)
    assert loss.item() == pytest.approx(2 * (1 + 5) / 2)


def test_without_people_zero_that_still_reaches_the_offsets():
    offsets = torch.randn(1, 1, 1, 2, 2, 2, requires_grad=True)
    loss = GatedOffsetError()(offsets, torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2))
    loss.backward()
    assert loss.item() == 0
    assert offsets.grad is not None
