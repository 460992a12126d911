import copy
import math

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

from experiments.tables.loader import load_tables
from experiments.tables.table import Row
from lightning_modules.shared.config import BackboneConfig
from lightning_modules.ssn.config import (
    Architecture,
    Config,
    CorrelationAttention,
    DecodeConfig,
    EarlyPredictor,
    FeatureShiftConfig,
    Predictor,
)
from lightning_modules.ssn.network import Network, feature_shift_modules
from tests.experiments.tables.rows import model_of

TABLES = load_tables("ssn")
COUNTED = [row for number in ("1", "3") for row in TABLES[number].ours]
EXACT = {
    "Backbone": 25_112_264,
    "Backbone, w/ ESP": 25_844_398,
    "SSN, w/o CA": 35_624_302,
    "SSN, w/o shifting": 40_483_950,
    "SSN, w/o ESP": 39_764_616,
    "SSN, K = 256": 33_184_878,
    "SSN": 40_496_750,
    "3Block + 3FSM, K = 256": 777_762,
    "3Block + 3FSM, K = 512": 1_223_202,
}


def config_of(row: Row) -> Config:
    random = {"backbone": {"weights": None}, "feature_shift": {"insert_step": 0}}
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), random, model_of(row)))


def two_per_value(*_, out_shape, **__) -> int:
    return 2 * math.prod(out_shape)


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row.name)
def test_parameters_and_multiply_accumulates_are_the_papers(row):
    height, width = row.switches.get("data.crop_size", (256, 192))
    elementwise = {torch.ops.aten.lerp: two_per_value, torch.ops.aten.mul: two_per_value}  # of the FSMs
    with torch.device("meta"), torch.no_grad():
        network = Network(config_of(row), 17).eval()
        with FlopCounterMode(display=False, custom_mapping=elementwise) as counter:
            output = network(torch.empty(1, 3, height, width))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert round(parameters / 1e6, 1) == row.published["params_M"]
    assert parameters == EXACT.get(row.name, parameters)
    assert counter.get_total_flops() / 2e9 == pytest.approx(row.published["macs_G"], rel=0.02)
    assert output.heatmap_s4.shape == (1, 17, height // 4, width // 4)


def test_modules_stand_before_every_block_but_those_behind_a_strided_one():
    with torch.device("meta"):
        network = Network(Config(backbone=BackboneConfig("resnet50_gn", None, 0)), 17)
    stages = [feature_shift_modules(stage) for stage in network.body.stages]
    assert [len(stage) for stage in stages] == [3, 3, 5, 2]
    channels = [[shift.expand.out_channels for shift in stage] for stage in stages]
    assert channels == [[64, 256, 256], [256, 512, 512], [512, 1024, 1024, 1024, 1024], [1024, 2048]]
    assert [shift.expand.in_channels for shift in feature_shift_modules(network)] == [256] + [512] * 12


def three_block(**changes) -> Config:
    return Config(
        architecture=Architecture.three_block,
        feature_shift=FeatureShiftConfig(
            **{"channels": 8, "correlation_attention": CorrelationAttention.sigmoid, "insert_step": 0} | changes
        ),
        early_predictors=EarlyPredictor.none,
    )


def test_table_2_reads_the_predictor_it_names():
    small = FeatureShiftConfig(channels=4, first_channels=4, insert_step=0)
    config = Config(backbone=BackboneConfig("resnet50_gn", None, 0), feature_shift=small)
    torch.manual_seed(0)
    network = Network(config, 17).eval()
    assert [predictor.name for predictor in network.predictors] == ["E1", "E2", "E3", "P1", "P2", "P3", "P4"]
    with torch.no_grad():
        output = network(torch.randn(1, 3, 64, 64))
        raw = network.body(torch.randn(1, 3, 64, 64))
    assert [heatmaps.shape[-1] for heatmaps in raw] == [16, 8, 4, 2, 4, 8, 16]
    assert output.all_heatmaps_s4.shape == (1, 7, 17, 16, 16)
    assert torch.equal(output.heatmap_s4, output.all_heatmaps_s4[:, 6])
    assert network.predictors[network.evaluated] is Predictor.P4


def test_every_parameter_has_a_gradient_before_and_after_insertion():
    for step in (0, 6000):
        network = Network(three_block(insert_step=step), 17)
        network(torch.randn(2, 3, 32, 32)).all_heatmaps_s4.square().sum().backward()
        missing = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert missing == []


@pytest.mark.slow
def test_the_compiled_network_trains_through_the_insertion():
    """One graph before it and one after, with the gradients of the network that is not compiled."""
    torch.manual_seed(0)
    plain = Network(three_block(insert_step=4), 17)
    compiled = copy.deepcopy(plain)
    compiled.compile(backend="aot_eager", fullgraph=True)
    images, target = torch.randn(2, 3, 32, 32), torch.randn(2, 1, 17, 8, 8)
    weights = torch.randn(256, 8) / 8
    for is_inserted in (False, True):
        gradients = []
        for network in (plain, compiled):
            for module in feature_shift_modules(network) if is_inserted else ():
                module.insert()
                with torch.no_grad():
                    module.expand.weight.copy_(weights[: len(module.expand.weight), :, None, None])
            network.zero_grad()
            (network(images).all_heatmaps_s4 - target).square().mean().backward()
            gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)
        moved = [gradients[1][name].abs().max() > 0 for name in gradients[1] if name.endswith("offsets")]
        assert moved == [is_inserted] * 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(architecture=Architecture.three_block), "model.early_predictors"),
        (
            Config(early_predictors=EarlyPredictor.none, decode=DecodeConfig(predictor=Predictor.E1)),
            "model.decode.predictor=E1: .* use P1, P2, P3, P4",
        ),
        (Config(backbone=BackboneConfig("resnet18", None, 0)), "model.backbone.name=resnet18"),
        (Config(backbone=BackboneConfig("resnet50_gn", None, 1)), "frozen_stages"),
    ],
)
def test_switches_that_exclude_each_other_are_refused(config, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        Network(config, 17)
