import pytest
import torch

from lightning_modules.openpose_ssal.config import SelfSupervision
from lightning_modules.openpose_ssal.converters import Converters
from lightning_modules.openpose_ssal.network import Output


def output() -> Output:
    generator = torch.Generator().manual_seed(0)
    heatmaps = torch.randn(2, 3, 19, 6, 5, generator=generator).requires_grad_()
    return Output(heatmaps, torch.randn(2, 3, 19, 2, 6, 5, generator=generator).requires_grad_(), None)


def test_parameters_per_stage():
    converters = Converters(SelfSupervision.paf_to_heatmap, 1, 18, 19)
    assert sum(parameter.numel() for parameter in converters.parameters()) == 193_939


@pytest.mark.parametrize("direction", SelfSupervision)
def test_shapes_and_gradients_follow_the_direction(direction):
    predicted = output()
    generated = Converters(direction, 2, 18, 19, width=4)(predicted)
    makes_heatmaps = direction in (SelfSupervision.paf_to_heatmap, SelfSupervision.both)
    makes_pafs = direction in (SelfSupervision.heatmap_to_paf, SelfSupervision.both)
    assert (generated.heatmaps is not None) == makes_heatmaps
    assert (generated.pafs is not None) == makes_pafs
    if generated.heatmaps is not None:
        assert generated.heatmaps.shape == predicted.heatmaps.shape
        generated.heatmaps.sum().backward()
        assert predicted.pafs.grad.abs().sum() > 0
        assert predicted.heatmaps.grad is None
    if generated.pafs is not None:
        assert generated.pafs.shape == predicted.pafs.shape


def test_each_stage_has_its_own_converter():
    predicted = output()
    converters = Converters(SelfSupervision.paf_to_heatmap, 2, 18, 19, width=4)
    converters(predicted).heatmaps[0].sum().backward()
    assert converters.to_heatmap[0][0].weight.grad.abs().sum() > 0
    assert converters.to_heatmap[1][0].weight.grad.abs().sum() == 0
