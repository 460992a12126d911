import pytest
import torch

from lightning_modules.openpose_ssal.config import NetworkConfig, SelfSupervision
from lightning_modules.openpose_ssal.converters import Converters
from lightning_modules.openpose_ssal.learning_rates import parameter_groups
from lightning_modules.openpose_ssal.network import Network


def test_every_parameter_is_in_one_group_with_its_layers_rate():
    with torch.device("meta"):
        network = Network(NetworkConfig(weights=None), 18, 19, True)
        converters = Converters(SelfSupervision.both, 6, 18, 19)
    groups = parameter_groups(network, converters, lr=2e-5, weight_decay=5e-4)
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    everything = [*network.parameters(), *converters.parameters()]
    assert sorted(rate) == sorted(id(parameter) for parameter in everything)
    assert sum(len(group["params"]) for group in groups) == len(everything)
    expected = [
        (network.trunk[0], 2e-5),
        (network.reduce[0], 2e-5),
        (network.paf_stages[0][0], 2e-5),
        (network.heatmap_stages[1][0], 8e-5),
        (network.paf_stages[5][-1], 8e-5),
        (converters.to_heatmap[0][0], 2e-5),
        (converters.to_paf[3][0], 8e-5),
    ]
    for layer, lr in expected:
        assert rate[id(layer.weight)] == pytest.approx(lr)
        assert rate[id(layer.bias)] == pytest.approx(2 * lr)
        assert (decay[id(layer.weight)], decay[id(layer.bias)]) == (5e-4, 0)


def test_one_stage_without_converters_has_no_empty_group():
    with torch.device("meta"):
        network = Network(NetworkConfig(weights=None, stages=1), 18, 19, True)
    groups = parameter_groups(network, Converters(SelfSupervision.none, 1, 18, 19), 1.0, 0.0)
    assert [group["lr"] for group in groups] == [1.0, 2.0]
