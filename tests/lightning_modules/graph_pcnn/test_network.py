"""The paper's parameter counts, the copied stage, and what each switch leaves in the network."""

import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.config import Config, Refinement
from lightning_modules.graph_pcnn.guided_points import GuidedPointSampler
from lightning_modules.graph_pcnn.network import Network
from lightning_modules.shared.config import BackboneConfig


def config(name="resnet18", **switches):
    switches = {"deconv_channels": [16, 16, 16], "refinement_channels": 8, **switches}
    return Config(backbone=BackboneConfig(name=name, weights=None, frozen_stages=0), **switches)


def build(config):
    return Network(config, COCO.limb_indices, COCO.num_keypoints)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "base", "two_stages", "graph"),
    [
        ("resnet50", 33_999_697, 59_451_729, 3_608_832),
        ("hrnet_w32", 28_536_113, 48_943_345, 454_912),
        ("hrnet_w48", 63_595_745, 109_489_793, 680_192),
    ],
)
def test_parameter_counts(name, base, two_stages, graph):
    paper = Config(backbone=BackboneConfig(name=name, weights=None, frozen_stages=0))
    with torch.device("meta"):
        network = build(paper)
        paper.refinement = Refinement.none
        alone = build(paper)
    assert count(alone) == base
    assert count(network) - count(network.refinement) == two_stages
    assert count(network.refinement.graph) == graph
    assert count(network.localization_subnet) == two_stages - base


def test_the_localization_subnet_is_a_copy_not_the_same():
    network = build(config())
    first, second = network.heatmap_stage.state_dict(), network.localization_subnet.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    shared = {id(p) for p in network.heatmap_stage.parameters()} & {
        id(p) for p in network.localization_subnet.parameters()
    }
    assert not shared


@pytest.mark.parametrize("name", ["resnet18", "hrnet_w18_small", "tf_efficientnet_lite0"])
def test_every_parameter_learns_in_both_stages(name):
    torch.manual_seed(0)
    network = build(config(name))
    output = network(torch.randn(2, 3, 64, 64))
    assert output.heatmap_s4.shape == (2, 17, 16, 16)
    sampler = GuidedPointSampler((4, 4, 4), 3.0, 2.0)
    target = torch.rand(2, 17, 2) * 15
    points = sampler(output.heatmap_s4 + 1, target, torch.ones(2, 17).bool())
    refined = network.refine(output.localization_s4, points.position, points.heat, points.is_reliable)
    assert refined.logits.shape == refined.offset.shape == (2, 17, 12, 2)
    loss = output.heatmap_s4.square().sum() + (refined.logits * torch.randn_like(refined.logits)).sum()
    (loss + (refined.offset * torch.randn_like(refined.offset)).sum()).backward()
    assert [key for key, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("name", ["resnet18", "hrnet_w18_small"])
def test_running_the_second_stage_leaves_the_first_alone(name):
    """timm's HRNet stages write into the list they are given: the copy must not see the original's output."""
    torch.manual_seed(0)
    network = build(config(name)).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = network.trunk(images)
        before = [f.clone() for f in features]
        localization = network.localization_subnet(features)
        output = network(images)
    assert torch.allclose(network.heatmap_stage(features), localization, atol=1e-6)
    assert torch.allclose(output.localization_s4, localization, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, features, strict=True))


def test_without_refinement_the_base_runs_alone():
    network = build(config(refinement=Refinement.none))
    output = network(torch.randn(2, 3, 64, 64))
    assert output.localization_s4 is None
    output.heatmap_s4.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("switches", "message"),
    [({"name": "mobilenetv3_small_050"}, "resnet"), ({"deconv_channels": [8, 8]}, "three deconvolutions")],
)
def test_impossible_trunks_name_the_key(switches, message):
    with pytest.raises(ValueError, match=message):
        build(config(**switches))


def test_freezing_is_refused():
    frozen = config()
    frozen.backbone.frozen_stages = 1
    with pytest.raises(ValueError, match="frozen_stages"):
        build(frozen)
