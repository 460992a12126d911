import torch

from losses.masked_mse import MaskedMSE


def test_by_hand_ignored_pixels_count_in_the_mean() -> None:
    prediction = torch.tensor([[[[1.0, 2.0], [0.0, 4.0]], [[0.0, 1.0], [1.0, 7.0]]]])
    target = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]], [[0.5, 1.0], [0.0, 0.0]]]])
    ignore = torch.tensor([[[[False, False], [False, True]]]])
    assert MaskedMSE()(prediction, target, ignore).item() == (1 + 4 + 0.25 + 1) / 8


def test_padding_the_batch_with_ignored_pixels_scales_by_area_only() -> None:
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    small = MaskedMSE()(prediction, target, torch.zeros(2, 1, 4, 4, dtype=torch.bool))
    wide = [torch.cat([part, torch.full((2, 3, 4, 4), 9.0)], dim=3) for part in (prediction, -target)]
    ignore = torch.zeros(2, 1, 4, 8, dtype=torch.bool)
    ignore[..., 4:] = True
    torch.testing.assert_close(MaskedMSE()(wide[0], -wide[1], ignore), small / 2)


def test_everything_ignored_is_zero_and_touches_the_prediction() -> None:
    prediction = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = MaskedMSE()(prediction, torch.randn(1, 2, 3, 3), torch.ones(1, 2, 1, 1, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_half_precision_prediction_is_compared_in_fp32() -> None:
    prediction = torch.full((1, 1, 64, 64), 0.01, dtype=torch.bfloat16)
    loss = MaskedMSE()(prediction, torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64, dtype=torch.bool))
    torch.testing.assert_close(loss, prediction[0, 0, 0, 0].float() ** 2)
