import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lightning_modules.openpose_ssal.config import NetworkConfig, Vgg
from lightning_modules.openpose_ssal.network import Network
from lightning_modules.openpose_ssal.vgg import load_vgg_weights, vgg_trunk

SMALL = NetworkConfig(
    weights=None, backbone_width=0.0625, feature_channels=8, stage_width=8, stages=3, stage_kernel=3, initial_std=None
)


def small(**changes) -> NetworkConfig:
    return NetworkConfig(**{**vars(SMALL), **changes})


@pytest.mark.parametrize(
    ("offsets", "parameters", "gmacs"), [(False, 52_311_446, 135.934), (True, 54_611_054, 140.800)]
)
def test_parameters_and_multiply_accumulates_are_the_papers(offsets, parameters, gmacs):
    with torch.device("meta"):
        network = Network(NetworkConfig(weights=None), 18, 19, offsets)
        with FlopCounterMode(display=False) as counter:
            output = network(torch.empty(1, 3, 368, 368))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=5e-4)
    assert output.heatmaps.shape == (6, 1, 19, 46, 46)
    assert output.pafs.shape == (6, 1, 19, 2, 46, 46)
    assert output.offsets is None or output.offsets.shape == (6, 1, 18, 2, 46, 46)


def test_vgg16_is_the_text_but_not_the_count():
    with torch.device("meta"):
        network = Network(NetworkConfig(weights=None, backbone=Vgg.vgg16), 18, 19, False)
    assert sum(parameter.numel() for parameter in network.parameters()) == 54_081_174


@pytest.mark.parametrize("downsampling", [8, 16, 32])
def test_grid_follows_the_downsampling(downsampling):
    network = Network(small(downsampling=downsampling), 18, 19, True)
    output = network(torch.randn(2, 3, 64, 96))
    assert output.heatmaps.shape == (3, 2, 19, 64 // downsampling, 96 // downsampling)


@pytest.mark.parametrize("downsampling", [0, 4, 12])
def test_other_downsampling_is_refused(downsampling):
    with pytest.raises(ValueError, match=f"downsampling={downsampling}"):
        Network(small(downsampling=downsampling), 18, 19, True)


def test_each_stage_reads_all_of_the_stage_before():
    network = Network(SMALL, 18, 19, True)
    output = network(torch.randn(1, 3, 32, 32))
    output.heatmaps[-1].sum().backward()
    assert network.heatmap_stages[-1][0].weight.shape[1] == 8 + 38 + 19 + 36
    for stages in (network.paf_stages, network.heatmap_stages):
        assert stages[1][-1].bias.grad.abs().amin() > 0
    assert network.paf_stages[-1][-1].bias.grad is None


def test_pretrained_weights_load_from_a_file_and_other_shapes_are_refused(tmp_path):
    source = vgg_trunk(Vgg.vgg19)
    state = {f"features.{key}": value for key, value in source.state_dict().items()}
    torch.save(state | {"classifier.0.weight": torch.zeros(3)}, tmp_path / "vgg19.pth")
    trunk = vgg_trunk(Vgg.vgg19)
    load_vgg_weights(trunk, Vgg.vgg19, str(tmp_path / "vgg19.pth"))
    assert all(trunk.state_dict()[key].equal(value) for key, value in source.state_dict().items())
    with pytest.raises(ValueError, match="backbone_width=1"):
        load_vgg_weights(vgg_trunk(Vgg.vgg19, 0.5), Vgg.vgg19, str(tmp_path / "vgg19.pth"))
    with pytest.raises(ValueError, match=r"nowhere\.pth"):
        load_vgg_weights(trunk, Vgg.vgg19, str(tmp_path / "nowhere.pth"))
