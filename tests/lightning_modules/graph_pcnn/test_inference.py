"""Testing as §3.4 and Eq. 12 state it, on heatmaps that are known."""

import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.config import Config, GaussianCenter
from lightning_modules.graph_pcnn.graph_refinement import Refined
from lightning_modules.graph_pcnn.inference import PoseEstimator
from lightning_modules.graph_pcnn.network import Output

SIZE = (32, 24)


class KnownHeatmaps:
    """Stands for a network: ideal heatmaps of an image and of its mirror image; records what stage 2 is given."""

    def __init__(self, heatmaps):
        self.heatmaps = heatmaps
        self.given = []

    def __call__(self, images):
        heatmap = self.heatmaps.pop(0)
        return Output(heatmap, torch.zeros(len(heatmap), 4, *SIZE))

    def refine(self, localization, position, heat, is_reliable):
        self.given.append((heat, is_reliable))
        return Refined(torch.zeros(*heat.shape, 2), torch.zeros_like(position))


def ideal(joints, sigma):
    """[B, K, 32, 24], height 1, on the nearest cell of joints [B, K, 2], heatmap pixels (SimpleBaseline's target)."""
    cell = (joints + 0.5).floor()
    y = torch.arange(SIZE[0])[:, None] - cell[..., 1, None, None]
    x = torch.arange(SIZE[1]) - cell[..., 0, None, None]
    return torch.exp(-(x.square() + y.square()) / (2 * sigma**2))


def joints():
    torch.manual_seed(0)
    return torch.rand(3, 17, 2) * torch.tensor([SIZE[1] - 9.0, SIZE[0] - 9.0]) + 4


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_an_ideal_map_of_sigma_1_gives_reliable_points(noise):
    """At a quarter of a cell beside its peak such a map is at most 0.84, below ξ = 0.85."""
    heatmap = ideal(joints(), 1.0)
    heatmap = heatmap + noise * torch.rand_like(heatmap)  # breaks ties, so that the point moves by a quarter
    network = KnownHeatmaps([heatmap])
    estimate = PoseEstimator(Config(sigma=1.0, gaussian_center=GaussianCenter.rounded, flip_test=False), COCO)
    pose = estimate(network, torch.zeros(3, 3, 128, 96))
    heat, is_reliable = network.given[0]
    assert is_reliable.all()
    assert torch.equal(heat[..., 0], pose.score)


def test_the_mirror_image_hears_the_score_of_the_averaged_map():
    """Image 1.0, mirror image 0.8: averaged peak 0.9, for both, left and right swapped."""
    heatmap = ideal(joints(), 1.0) * torch.linspace(0.5, 1.0, 17)[:, None, None]
    permutation = list(COCO.flip_permutation)
    mirrored = 0.8 * heatmap[:, permutation].roll(-1, dims=-1).flip(-1)
    network = KnownHeatmaps([heatmap, mirrored])
    pose = PoseEstimator(Config(sigma=1.0), COCO)(network, torch.zeros(3, 3, 128, 96))
    (heat, is_reliable), (heat_there, is_reliable_there) = network.given
    expected = 0.9 * torch.linspace(0.5, 1.0, 17).expand(3, 17)
    torch.testing.assert_close(pose.score, expected)
    torch.testing.assert_close(heat[..., 0], expected)
    assert torch.equal(is_reliable[..., 0], expected > 0.85)
    assert torch.equal(heat_there, heat[:, permutation])
    assert torch.equal(is_reliable_there, is_reliable[:, permutation])
