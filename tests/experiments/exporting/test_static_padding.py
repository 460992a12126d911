import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from experiments.exporting.static_padding import PaddedConv2d, with_static_padding


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 2), (5, 1, 1), (1, 2, 1)])
def test_constants_are_the_padding_of_multiples(kernel: int, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    conv = Conv2dSame(4, 6, kernel, stride=stride, dilation=dilation, groups=2)
    for height, width in ((8, 12), (2, 6)):
        maps = torch.randn(2, 4, height, width)
        torch.testing.assert_close(PaddedConv2d(conv)(maps), conv(maps), rtol=0, atol=0)


def test_the_network_itself_stays_as_it_is() -> None:
    network = nn.Sequential(Conv2dSame(3, 4, 3, stride=2), nn.Sequential(Conv2dSame(4, 4, 5)))
    static = with_static_padding(network)
    maps = torch.randn(1, 3, 8, 8)
    assert not any(
        isinstance(part, Conv2dSame)
        for parent in static.modules()
        for part in parent.children()
        if not isinstance(parent, PaddedConv2d)
    )
    assert isinstance(network[0], Conv2dSame)
    torch.testing.assert_close(static(maps), network(maps), rtol=0, atol=0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert with_static_padding(plain) is plain
