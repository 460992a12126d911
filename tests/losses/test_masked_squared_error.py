import pytest
import torch

from losses.masked_squared_error import MaskedSquaredError


def test_sum_over_stages_channels_and_cells_divided_by_the_batch():
    prediction = torch.zeros(2, 4, 3, 5, 5)
    prediction[0, 1, 2, 3, 4] = 3.0
    prediction[1, 3, 0, 0, 0] = 1.0
    assert MaskedSquaredError()(prediction, torch.zeros(4, 3, 5, 5)).item() == pytest.approx((9 + 1) / 4)


def test_mask_and_weight_multiply_the_error():
    prediction = torch.ones(1, 2, 1, 2, 2)
    mask = torch.tensor([[[[True, False], [True, True]]], [[[False, False], [False, True]]]])
    weight = torch.tensor([[1.0, 7.0], [2.0, 3.0]])
    loss = MaskedSquaredError()(prediction, torch.zeros(2, 1, 2, 2), mask, weight)
    assert loss.item() == pytest.approx((1 + 2 + 3 + 3) / 2)


def test_masked_out_batch_is_zero_and_still_reaches_the_prediction():
    prediction = torch.randn(1, 2, 1, 2, 2, requires_grad=True)
    loss = MaskedSquaredError()(prediction, torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() == 0
