import pytest
import torch
from torch import nn

from lightning_modules.shared.channels_first import HalvingPool, NarrowConvolution, is_halving, is_narrow


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hw", [(7, 9), (1, 4), (3, 1), (2, 2)])
@torch.no_grad()
def test_a_narrow_convolution_computes_the_same(size, bias, hw):
    convolution = nn.Conv2d(6, 17, size, padding=size // 2, bias=bias).double()
    maps = torch.randn(2, 6, *hw, dtype=torch.float64)
    assert is_narrow(convolution)
    torch.testing.assert_close(NarrowConvolution(convolution)(maps), convolution(maps))


@pytest.mark.parametrize(
    ("outputs", "changes"),
    [
        (16, {}),
        (14, {}),  # of CrowdPose: two lanes of sixteen are empty
        (17, {"kernel_size": 1, "padding": 0}),
        (17, {"padding": 0}),
        (17, {"stride": 2}),
        (17, {"dilation": 2, "padding": 2}),
        (17, {"padding_mode": "reflect"}),
        (6, {"groups": 2}),
        (17, {"kernel_size": (3, 5), "padding": (1, 2)}),
    ],
)
def test_others_are_not_narrow(outputs, changes):
    assert not is_narrow(nn.Conv2d(6, outputs, **{"kernel_size": 3, "padding": 1, **changes}))


@pytest.mark.parametrize("hw", [(8, 6), (7, 9), (8, 5), (1, 1), (1, 2), (2, 1)])
def test_a_halving_pool_computes_the_same(hw):
    maps = torch.randn(2, 3, *hw)
    assert is_halving(nn.MaxPool2d(3, 2, 1))
    pooled = HalvingPool()(maps)
    assert torch.equal(pooled, nn.MaxPool2d(3, 2, 1)(maps))
    assert pooled.is_contiguous()


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(3, 2, 0), nn.MaxPool2d(3, 2, 1, ceil_mode=True)]
)
def test_other_pools_are_not_halving(pool):
    assert not is_halving(pool)
