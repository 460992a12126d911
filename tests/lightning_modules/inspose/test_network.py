from collections.abc import Callable
from typing import Any

import pytest
import torch

from lightning_modules.inspose.config import Config
from lightning_modules.inspose.locations import level_shapes
from lightning_modules.inspose.network import Network
from lightning_modules.shared.config import BackboneConfig

Make = Callable[..., Any]


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_the_papers_model() -> None:
    config = Config(backbone=BackboneConfig(name="resnet50", weights=None))
    with torch.device("meta"):
        network = Network(config, 17)
    assert count(network.fpn) == 3_868_672
    assert count(network.parameter_tower) == 2_361_344
    assert count(network.class_head) == 2_361_344 + 2_305
    assert count(network.parameter_head) == 721_465
    assert count(network.keypoint_features) == 747_536
    assert count(network.disk_head) == 1_259_042
    assert count(network.heatmap_head) == 1_219_857
    assert count(network) - count(network.heatmap_head) == 34_829_740


@pytest.mark.parametrize(
    "changes", [{}, {"bbox_head": True}, {"disk_offset": False, "heatmap": False}, {"kpnet_depth": 1, "tower_depth": 0}]
)
def test_shapes(small_config: Make, changes: dict[str, Any]) -> None:
    config = small_config(**changes)
    network = Network(config, 5)
    total = sum(h * w for h, w in level_shapes((96, 160)))
    output = network(torch.randn(2, 3, 96, 160))
    assert output.class_logits.shape == (2, total)
    assert output.parameters.shape == (2, network.kp_net.num_parameters, total)
    assert output.kp_features_s8.shape == (2, 8, 12, 20)
    assert (None if output.disk_offsets_s8 is None else output.disk_offsets_s8.shape) == (
        (2, 10, 12, 20) if config.disk_offset else None
    )
    assert (None if output.heatmap_s8 is None else output.heatmap_s8.shape) == (
        (2, 5, 12, 20) if config.heatmap else None
    )
    assert (output.box_distances is not None) == config.bbox_head
    if output.box_distances is not None:
        assert output.box_distances.shape == (2, 4, total)
        assert (output.box_distances > 0).all()


def test_the_heatmap_is_pruned_at_inference(small_config: Make) -> None:
    network = Network(small_config(), 17).eval()
    assert network(torch.randn(1, 3, 64, 64)).heatmap_s8 is None


def test_priors(small_config: Make) -> None:
    network = Network(small_config(), 17)
    output = network(torch.zeros(1, 3, 64, 64))
    assert output.class_logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.2)
    assert output.heatmap_s8.sigmoid().mean().item() == pytest.approx(0.1, rel=0.2)


def test_impossible_configuration_is_refused(small_config: Make) -> None:
    with pytest.raises(ValueError, match="kpnet_depth=7"):
        Network(small_config(kpnet_depth=7), 17)
