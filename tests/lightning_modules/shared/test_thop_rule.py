import pytest
import torch
from torch import nn

from lightning_modules.shared.config import BackboneConfig
from lightning_modules.shared.thop_rule import printed_count
from lightning_modules.ssa.attention import SelfAttention
from lightning_modules.ssa.config import Config
from lightning_modules.ssa.network import Network


def test_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2, padding=1),  # 6·5·5 outputs of 2·9 taps and a bias
        nn.BatchNorm2d(6),
        nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1, bias=False),  # 3·10·10 outputs of 6·16 taps, 4 times too many
        nn.ReLU(),
        nn.Linear(10, 7),  # 3·10·7 outputs of 10
        nn.LayerNorm(7),
    )
    count = printed_count(network, torch.randn(1, 4, 5, 5), attention=nn.MultiheadAttention)
    assert count.macs == 150 * 19 + 2 * 150 + 300 * 96 + 210 * 10
    assert count.parameters == (6 * 18 + 6) + 12 + 6 * 3 * 16 + 77
    assert network.training


@pytest.mark.parametrize(
    ("backbone", "side", "millions", "giga"),
    [("resnet101", 640, 44.965, 102.276), ("resnet152", 640, 60.609, 132.683), ("resnet101", 800, 44.965, 159.806)],
)
def test_ssa_table_7(backbone: str, side: int, millions: float, giga: float) -> None:
    with torch.device("meta"):
        network = Network(Config(backbone=BackboneConfig(backbone, weights=None)), 17)
        count = printed_count(network, torch.empty(1, 3, side, side), attention=SelfAttention)
    assert count.parameters / 1e6 == pytest.approx(millions, abs=5e-4)
    assert count.macs / 1e9 == pytest.approx(giga, abs=5e-4)
