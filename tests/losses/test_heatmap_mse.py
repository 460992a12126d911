import pytest
import torch

from losses.heatmap_mse import HeatmapMSE


def by_loops(predicted, target, weight):
    total, count = 0.0, 0
    for b in range(predicted.shape[0]):
        for k in range(predicted.shape[1]):
            for y in range(predicted.shape[2]):
                for x in range(predicted.shape[3]):
                    difference = weight[b, k] * (predicted[b, k, y, x] - target[b, k, y, x])
                    total, count = total + float(difference) ** 2, count + 1
    return 0.5 * total / count


def test_against_loops():
    torch.manual_seed(0)
    predicted, target, weight = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5), torch.tensor([[1, 0, 1], [0.5, 1, 0]])
    assert HeatmapMSE()(predicted, target, weight).item() == pytest.approx(by_loops(predicted, target, weight))


def test_nothing_labelled_is_a_zero_with_gradients():
    predicted = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = HeatmapMSE()(predicted, torch.rand(2, 3, 4, 5), torch.zeros(2, 3))
    loss.backward()
    assert loss == 0
    assert torch.equal(predicted.grad, torch.zeros_like(predicted))


def test_autocast_does_not_round():
    torch.manual_seed(0)
    predicted, target, weight = torch.randn(2, 3, 4, 5), torch.rand(2, 3, 4, 5), torch.ones(2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = HeatmapMSE()(predicted, target, weight)
    assert loss.dtype is torch.float32
    assert loss == HeatmapMSE()(predicted, target, weight)
