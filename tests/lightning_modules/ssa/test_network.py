import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_modules.shared.config import BackboneConfig
from lightning_modules.ssa.config import Config, RefinerConfig, Supervision
from lightning_modules.ssa.network import Network, Refiner


def small(**changes: object) -> Config:
    config = Config(
        backbone=BackboneConfig(name="resnet18", weights=None, frozen_stages=0),
        width=16,
        feedforward=32,
        layers=3,
        supervised_layer=2,
    )
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def macs(module: nn.Module, images: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images)
    return counter.get_total_flops() // 2


@pytest.fixture(scope="module")
def resnet101() -> Network:
    with torch.device("meta"):
        return Network(Config(backbone=BackboneConfig("resnet101", weights=None, frozen_stages=0)), 17).eval()


def test_size_of_the_resnet101_network_and_its_parts(resnet101: Network) -> None:
    assert parameters(resnet101.backbone) == 42_500_160
    assert parameters(resnet101.reduce) == 393_216
    assert parameters(resnet101.encoder) == 6 * 297_024
    assert parameters(resnet101.head.deconvolutions) == 1_180_416
    assert parameters(resnet101.head.final) == 3_281
    assert parameters(resnet101) == 45_859_217


@pytest.mark.parametrize(("side", "giga"), [(640, 95.130), (800, 153.825)])
def test_multiply_accumulates_of_the_resnet101_network(resnet101: Network, side: int, giga: float) -> None:
    assert macs(resnet101, torch.empty(1, 3, side, side, device="meta")) / 1e9 == pytest.approx(giga, abs=5e-4)


def test_size_and_multiply_accumulates_of_the_resnet152_network() -> None:
    with torch.device("meta"):
        network = Network(Config(backbone=BackboneConfig("resnet152", weights=None, frozen_stages=0)), 17).eval()
    assert parameters(network) == 61_502_865
    assert macs(network, torch.empty(1, 3, 640, 640, device="meta")) / 1e9 == pytest.approx(125.434, abs=5e-4)


def test_size_of_the_refiner() -> None:
    with torch.device("meta"):
        refiner = Refiner(RefinerConfig(backbone=BackboneConfig("resnet50", weights=None, frozen_stages=0)), 17).eval()
        assert refiner(torch.empty(1, 3, 256, 192)).shape == (1, 17, 64, 48)
    stored_position_embedding = 32 * 24 * 256
    assert parameters(refiner) + stored_position_embedding == 5_985_105


@pytest.mark.parametrize("stride", [8, 16])
def test_heatmaps_have_a_quarter_of_the_resolution(stride: int) -> None:
    network = Network(small(stride=stride), 17).eval()
    with torch.no_grad():
        output = network(torch.randn(2, 3, 64, 96))
    assert output.heatmap_s4.shape == (2, 17, 16, 24)
    assert output.grid == (64 // stride, 96 // stride)
    assert output.supervised.query.shape == (2, 1, output.grid[0] * output.grid[1], 16)
    assert output.supervised is output.layers[1]


def test_independent_attention_leaves_the_heatmaps_path_alone() -> None:
    torch.manual_seed(0)
    network = Network(small(supervision=Supervision.independent), 17).eval()
    output = network(torch.randn(1, 3, 64, 64))
    (output.supervised.query.sum() + output.supervised.key.sum()).backward()
    assert network.independent is not None
    assert network.independent.projection.weight.grad.abs().sum() > 0
    grads = [layer.self_attn.in_proj_weight.grad for layer in network.encoder.layers]
    assert grads[0].abs().sum() > 0
    assert grads[1] is None
    assert grads[2] is None
    assert all(output.supervised is not layer for layer in output.layers)


@pytest.mark.parametrize(("name", "value"), [("stride", 32), ("supervised_layer", 4), ("supervised_layer", 0)])
def test_impossible_switches_are_named(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"model.{name}: {value}"):
        Network(small(**{name: value}), 17)
