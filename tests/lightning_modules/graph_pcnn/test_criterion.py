"""The terms of both stages over a whole step."""

import pytest
import torch

from datamodules.contracts import Persons
from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.config import Config, GaussianCenter, OffsetUnit, Refinement
from lightning_modules.graph_pcnn.criterion import Criterion
from lightning_modules.graph_pcnn.guided_points import GuidedPointSampler
from lightning_modules.graph_pcnn.network import Network
from lightning_modules.graph_pcnn.targets import encode_targets
from lightning_modules.shared.config import BackboneConfig


def config(**switches):
    backbone = BackboneConfig(name="resnet18", weights=None, frozen_stages=0)
    return Config(
        backbone=backbone, deconv_channels=[8, 8, 8], refinement_channels=8, sigma=1.0, num_points=12, **switches
    )


def step(config, visibility):
    torch.manual_seed(0)
    network = Network(config, COCO.limb_indices, 17)
    keypoints = torch.rand(2, 1, 17, 2) * 64 * (visibility > 0)[..., None]
    people = Persons(keypoints, visibility, torch.zeros(2, 1, 4), torch.ones(2, 1), torch.ones(2, 1).bool())
    output = network(torch.randn(2, 3, 64, 64))
    targets = encode_targets(people, (16, 16), config.sigma, GaussianCenter.rounded)
    points = refined = None
    if config.refinement is not Refinement.none:
        points = GuidedPointSampler.from_config(config)(output.heatmap_s4, targets.position, targets.weight > 0)
        refined = network.refine(output.localization_s4, points.position, points.heat, points.is_reliable)
    return network, Criterion(config)(output.heatmap_s4, targets, points, refined)


def test_terms_are_named_as_their_weights():
    _, terms = step(config(), torch.full((2, 1, 17), 2, dtype=torch.uint8))
    assert list(terms) == list(vars(config().loss_weights))
    assert all(term.dtype == torch.float32 and term.shape == () and term > 0 for term in terms.values())
    _, terms = step(config(refinement=Refinement.none), torch.full((2, 1, 17), 2, dtype=torch.uint8))
    assert list(terms) == ["heatmap"]


@pytest.mark.parametrize("refinement", [Refinement.gpr, Refinement.none])
def test_nobody_labelled_gives_zero_loss_and_gradients_everywhere(refinement):
    network, terms = step(config(refinement=refinement), torch.zeros(2, 1, 17, dtype=torch.uint8))
    total = sum(terms.values())
    assert total.item() == 0
    total.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_the_radius_unit_shrinks_the_regression_term():
    visible = torch.full((2, 1, 17), 2, dtype=torch.uint8)
    pixel, radius = (step(config(offset_unit=unit), visible)[1]["regression"] for unit in OffsetUnit)
    assert radius.item() == pytest.approx(pixel.item() / 3, rel=0.05)
