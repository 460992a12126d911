import copy
import warnings

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from datamodules.skeleton import COCO
from experiments.config import compose
from lightning_modules.papers import PAPERS, load
from lightning_modules.shared.channels_first import HalvingPool
from lightning_modules.shared.inference_form import inference_form, memory_format_of

CASES = {
    "inspose": (["model.backbone.weights=null", "model.backbone.frozen_stages=0"], 0),
    "ssn": (["model.backbone.weights=null", "model.feature_shift.insert_step=0"], 0),
    "graph_pcnn": (["model.backbone.weights=null"], 2),  # of the refinement's graphs
    "ssa": (["model.backbone.weights=null"], 0),
    "openpose_ssal": (["model.network.weights=null"], 0),
}


def norms_of(network):
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def stirred(network):
    """In eval mode, with statistics as after training: unlike those that folding would leave alone."""
    generator = torch.Generator().manual_seed(1)
    for norm in norms_of(network):
        for values, low, high in ((norm.running_mean, -0.3, 0.3), (norm.running_var, 0.5, 2.0)):
            values.copy_(torch.rand(values.shape, generator=generator) * (high - low) + low)
        if norm.affine:
            for values, low, high in ((norm.weight.data, 0.5, 1.5), (norm.bias.data, -0.2, 0.2)):
                values.copy_(torch.rand(values.shape, generator=generator) * (high - low) + low)
    return network.eval()


@pytest.mark.parametrize("paper", CASES)
def test_every_paper_predicts_the_same(paper):
    overrides, left = CASES[paper]
    config = compose(paper, "smoke", overrides)
    torch.manual_seed(0)
    module = load(PAPERS[paper].module)(config.model, config.optimizer, COCO)
    network = stirred(module.network)
    form = inference_form(copy.deepcopy(network))
    assert len(norms_of(form)) <= left
    images = torch.randn(2, 3, 128, 192)
    with torch.no_grad():
        expected, given = (torch.utils._pytree.tree_leaves(each(images)) for each in (network, form))
    assert len(expected) == len(given)
    for before, after in zip(expected, given, strict=True):
        if isinstance(before, torch.Tensor):
            torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))


def test_every_kind_of_pair_is_folded():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, groups=8, bias=True),
        BatchNormAct2d(8),
        nn.ConvTranspose2d(8, 4, 4, 2, 1),
        nn.BatchNorm2d(4, affine=False),
    )
    images = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        expected = stirred(network)(images)
        given = inference_form(network)(images)
    assert not norms_of(network)
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


class Forked(nn.Module):
    """What the convolution makes is normalised, and goes past the normalisation too."""

    def __init__(self, past):
        super().__init__()
        self.conv, self.norm, self.past = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), past

    def forward(self, images):
        made = self.conv(images)
        return self.norm(made) + (made if self.past else 0)


class Shared(nn.Module):
    """One convolution, a normalisation for each of two inputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.norms = nn.Conv2d(3, 4, 1), nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))

    def forward(self, images):
        return [norm(self.conv(scale * images)) for scale, norm in enumerate(self.norms, start=1)]


def test_an_output_with_another_use_is_not_folded():
    network, images = stirred(Forked(past=True)), torch.randn(1, 3, 8, 8)
    expected = network(images)
    with pytest.warns(UserWarning, match="says something else"):
        given = inference_form(network)(images)
    assert len(norms_of(network)) == 1
    torch.testing.assert_close(given, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert not norms_of(inference_form(stirred(Forked(past=False))))


def test_a_convolution_with_two_normalisations_keeps_both():
    network, images = stirred(Shared()), torch.randn(1, 3, 8, 8)
    expected = network(images)
    torch.testing.assert_close(inference_form(network)(images), expected)
    assert len(norms_of(network)) == 2


def test_statistics_of_the_batch_are_not_folded():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    images = torch.randn(2, 3, 8, 8)
    expected = network(images)
    torch.testing.assert_close(inference_form(network)(images), expected)


class ChannelsFirst(nn.Sequential):
    cpu_memory_format = torch.contiguous_format


def test_a_network_may_stay_channels_first():
    layers = nn.Conv2d(3, 8, 3), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 4, 3)
    images = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        expected = nn.Sequential(*layers)(images)
        form = inference_form(ChannelsFirst(*layers).eval())
        given = form(images)
    assert memory_format_of(form) is torch.contiguous_format
    assert isinstance(form[1], HalvingPool)
    assert given.is_contiguous()
    torch.testing.assert_close(given, expected)
    assert memory_format_of(nn.Sequential(*layers)) is torch.channels_last
    assert memory_format_of(ChannelsFirst(*layers).to("meta")) is torch.channels_last


def test_training_has_no_inference_form():
    with pytest.raises(ValueError, match="eval"):
        inference_form(nn.Conv2d(3, 3, 1))
