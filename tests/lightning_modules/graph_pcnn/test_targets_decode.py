"""Encoding and decoding are inverse; mirrored images give mirrored poses."""

import math

import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.config import Config, GaussianCenter, Refinement
from lightning_modules.graph_pcnn.decode import mirror_offsets, mirror_points, to_predictions
from lightning_modules.graph_pcnn.graph_refinement import Refined
from lightning_modules.graph_pcnn.inference import PoseEstimator
from lightning_modules.graph_pcnn.network import Network, Output
from lightning_modules.graph_pcnn.targets import encode_targets
from lightning_modules.shared.config import BackboneConfig
from lightning_modules.shared.peaks import quarter_peaks

HEIGHT, WIDTH = 128, 96
PERMUTATION = torch.tensor(COCO.flip_permutation)


def persons(batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    keypoints = 10 + torch.rand(batch, 1, 17, 2, generator=generator) * torch.tensor([WIDTH - 20.0, HEIGHT - 20.0])
    visibility = torch.randint(0, 3, (batch, 1, 17), generator=generator, dtype=torch.uint8)
    keypoints = keypoints * (visibility > 0)[..., None]
    boxes = torch.tensor([0.0, 0.0, WIDTH, HEIGHT]).expand(batch, 1, 4)
    return Persons(keypoints, visibility, boxes, torch.ones(batch, 1), torch.ones(batch, 1).bool())


def crops(people, affine):
    """The crops of ``people`` with nothing in them."""
    batch = len(people.keypoints)
    blank = torch.zeros(batch, 3, HEIGHT, WIDTH)
    return PoseBatch(blank, people, torch.zeros(batch, HEIGHT // 4, WIDTH // 4).bool(), None, meta(batch, affine))


def meta(batch, affine):
    ids = torch.arange(batch)
    size = torch.tensor([[HEIGHT, WIDTH]]).expand(batch, 2)
    return Meta(ids, ids, size, size, affine.expand(batch, 2, 3), torch.full((batch,), 0.5))


def small_config(**switches):
    backbone = BackboneConfig(name="resnet18", weights=None, frozen_stages=0)
    return Config(backbone=backbone, deconv_channels=[8, 8, 8], refinement_channels=8, sigma=1.0, **switches)


def loud(network, seed=0):
    """Random answers of visible size in both stages, so that a test can see them."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2.0)
            if isinstance(module, torch.nn.ConvTranspose2d):
                module.weight.normal_(std=0.2)
        network.heatmap_layer.weight.normal_()
        if hasattr(network.refinement, "head"):
            network.refinement.head.regression.weight.normal_()
    return network.eval()


@pytest.mark.parametrize("center", list(GaussianCenter))
def test_decoding_the_targets_gives_the_joints_back(center):
    people = persons()
    targets = encode_targets(people, (HEIGHT // 4, WIDTH // 4), 2.0, center)
    position, score = quarter_peaks(targets.heatmap_s4)
    affine = torch.tensor([[2.0, 0.0, 5.0], [0.0, 3.0, 7.0]])
    predictions = to_predictions(position, score, crops(people, affine), 0.2)
    labelled = people.visibility[:, 0] > 0
    there = people.keypoints[:, 0] * torch.tensor([2.0, 3.0]) + torch.tensor([5.0, 7.0])
    error = (predictions.keypoints[:, 0, :, :2] - there)[labelled].abs() / torch.tensor([2.0, 3.0])
    assert error.max() <= (2.0 if center is GaussianCenter.rounded else 1.0) + 1e-4  # half a cell, a quarter cell
    assert predictions.keypoints.shape == (3, 1, 17, 3)
    corners = torch.tensor([5.0, 7.0, 5.0 + 2 * WIDTH, 7.0 + 3 * HEIGHT])
    assert torch.allclose(predictions.boxes, corners.expand(3, 1, 4))


def test_a_true_offset_at_the_peak_restores_the_joint_exactly():
    people = persons()
    targets = encode_targets(people, (HEIGHT // 4, WIDTH // 4), 2.0, GaussianCenter.rounded)
    position, score = quarter_peaks(targets.heatmap_s4)
    refined = position + (targets.position - position)
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    predictions = to_predictions(refined, score, crops(people, identity), 0.2)
    labelled = people.visibility[:, 0] > 0
    assert (predictions.keypoints[:, 0, :, :2] - people.keypoints[:, 0])[labelled].abs().max() < 1e-4


def test_targets_are_sampled_gaussians():
    people = persons()
    targets = encode_targets(people, (32, 24), 1.0, GaussianCenter.rounded)
    for b in range(3):
        for k in range(17):
            labelled = bool(people.visibility[b, 0, k] > 0)
            x, y = ((people.keypoints[b, 0, k].double() / 4) + 0.5).floor().tolist()
            j, i = torch.meshgrid(torch.arange(32).double(), torch.arange(24).double(), indexing="ij")
            expected = torch.exp(-((i - x) ** 2 + (j - y) ** 2) / 2) * ((i - x).abs() <= 3) * ((j - y).abs() <= 3)
            assert torch.allclose(targets.heatmap_s4[b, k].double(), expected * labelled, atol=1e-6)
            assert targets.weight[b, k] == labelled


def of_the_bases(x, y, map_hw, sigma):
    """Heatmap f64 and weight of a joint at input pixel x, y by the loop of SimpleBaseline and HRNet.

    There a joint one cell farther than 3σ left of or above the map has weight 1 and nothing drawn; here it has none.
    """
    height, width = map_hw
    reach, mu = int(3 * sigma), (int(x / 4 + 0.5), int(y / 4 + 0.5))
    low, high = [m - reach for m in mu], [m + reach + 1 for m in mu]
    heat = torch.zeros(height, width, dtype=torch.float64)
    if low[0] >= width or low[1] >= height or high[0] <= 0 or high[1] <= 0:
        return heat, 0
    for j in range(max(0, low[1]), min(high[1], height)):
        for i in range(max(0, low[0]), min(high[0], width)):
            heat[j, i] = math.exp(-((i - mu[0]) ** 2 + (j - mu[1]) ** 2) / (2 * sigma**2))
    return heat, 1


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_targets_within_and_around_the_crop_are_those_of_the_bases(sigma):
    people = persons(batch=12)
    keypoints = (torch.rand(12, 1, 17, 2, generator=torch.Generator().manual_seed(4)) - 0.25) * 2 * WIDTH
    people = people._replace(keypoints=keypoints, visibility=torch.ones_like(people.visibility))
    targets = encode_targets(people, (32, 24), sigma, GaussianCenter.rounded)
    is_outside = (keypoints < 0).any(-1) | (keypoints >= torch.tensor([WIDTH, HEIGHT])).any(-1)
    taught_outside = 0
    for b in range(12):
        for k in range(17):
            expected, weight = of_the_bases(*keypoints[b, 0, k].tolist(), (32, 24), sigma)
            assert targets.weight[b, k] == weight
            torch.testing.assert_close(targets.heatmap_s4[b, k].double(), expected, atol=1e-6, rtol=0)
            taught_outside += int(is_outside[b, 0, k]) * weight
    assert taught_outside > 10
    assert not targets.weight.all()


@pytest.mark.parametrize(("cells", "weight"), [(-2.0, 1), (-6.0, 1), (-6.1, 0)])
def test_a_joint_left_of_the_map(cells, weight):
    """σ = 2: the first column holds exp(-x² / 2σ²) in the joint's row; beyond 3σ there is nothing to learn."""
    people = persons(batch=1)
    people.keypoints[0, 0, 0] = torch.tensor([4 * cells, 40.0])
    people.visibility[0, 0, 0] = 2
    targets = encode_targets(people, (32, 24), 2.0, GaussianCenter.exact)
    assert targets.weight[0, 0] == weight
    assert targets.heatmap_s4[0, 0, 10, 0].item() == pytest.approx(math.exp(-(cells**2) / 8) * weight, abs=1e-6)
    assert targets.position[0, 0].tolist() == ([cells, 10.0] if weight else [0.0, 0.0])


def test_person_scores_average_the_keypoints_above_the_threshold():
    score = torch.tensor([[0.9, 0.5, 0.2, 0.1], [0.1, 0.0, 0.2, 0.1]])
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    predictions = to_predictions(torch.zeros(2, 4, 2), score, crops(persons(2), identity), 0.2)
    assert predictions.scores.flatten().tolist() == pytest.approx([0.5 * 0.7, 0.0])


def test_mirroring_twice_is_the_identity():
    position = torch.rand(2, 17, 5, 2) * torch.tensor([22.0, 31.0]) + torch.tensor([1.0, 0.0])
    twice = mirror_points(mirror_points(position, 24, PERMUTATION), 24, PERMUTATION)
    assert torch.allclose(twice, position, atol=1e-5)
    assert torch.equal(mirror_offsets(mirror_offsets(position, PERMUTATION), PERMUTATION), position)


def test_a_mirrored_image_gives_mirrored_coordinates():
    """Both stages, within 1e-3 input pixels: index u of the heatmap is input coordinate 4 u, mirrored to W - 4 u."""
    config = small_config(reliable_heat=0.0)
    network = loud(Network(config, COCO.limb_indices, 17))
    estimate = PoseEstimator(config, COCO)
    torch.manual_seed(1)
    images = torch.randn(4, 3, HEIGHT, WIDTH)
    plain, mirrored = estimate(network, images), estimate(network, images.flip(-1))
    back1, back2 = (
        torch.stack([WIDTH - 4 * p[:, PERMUTATION, 0], 4 * p[:, PERMUTATION, 1]], -1)
        for p in (mirrored.stage1, mirrored.stage2)
    )
    # The one-cell shift leaves the first column of the map without a counterpart; neighbours pass that on.
    inside = (plain.stage1[..., 0] >= 2) & (plain.stage1[..., 0] <= WIDTH / 4 - 3)
    around = inside.clone()
    for a, b in COCO.limb_indices:
        around[:, a] &= inside[:, b]
        around[:, b] &= inside[:, a]
    inside, around = inside[..., None], around[..., None]
    assert inside.float().mean() > 0.5
    assert around.float().mean() > 0.2
    assert ((back1 - 4 * plain.stage1) * inside).abs().max() < 1e-3
    assert ((back2 - 4 * plain.stage2) * around).abs().max() < 1e-3
    assert ((plain.stage2 - plain.stage1) * inside).abs().max() > 0.1
    alone = PoseEstimator(small_config(reliable_heat=0.0, flip_test=False), COCO)
    assert (alone(network, images).stage2 - plain.stage2).abs().max() > 0.1


class Oracle:
    """Its heatmaps peak at ``truth`` [1, 17, 2], mirrored where the left half is dark; there it moves points too."""

    def __init__(self, truth):
        self.truth = truth

    def __call__(self, images):
        width, height = images.shape[3] // 4, images.shape[2] // 4
        truth = self.truth if images[0, 0, 0, 0] else mirror_points(self.truth, width, PERMUTATION)
        across, down = (torch.arange(size) - truth[..., axis, None] for axis, size in ((0, width), (1, height)))
        return Output(torch.exp(-(across[:, :, None] ** 2 + down[..., None] ** 2) / 2), truth[:, :, None])

    def refine(self, truth, position, heat, is_reliable):
        return Refined(position, truth - position)


def test_the_mirror_image_tells_the_truth_about_the_first_column_too():
    truth = torch.rand(1, 17, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([11.0, 15.0])
    truth[0, :7, 0] = torch.linspace(0, 0.9, 7)
    images = torch.zeros(1, 3, 64, 48)
    images[..., :24] = 1.0
    pose = PoseEstimator(small_config(), COCO)(Oracle(truth), images)
    assert (pose.stage1 - truth).abs().max() > 0.2
    torch.testing.assert_close(pose.stage2, truth, atol=1e-5, rtol=0)


def test_a_crop_is_estimated_as_in_its_batch():
    config = small_config(reliable_heat=0.0)
    network = loud(Network(config, COCO.limb_indices, 17))
    images = torch.randn(3, 3, HEIGHT, WIDTH)
    batch, single = (PoseEstimator(config, COCO)(network, i) for i in (images, images[1:2]))
    assert torch.allclose(batch.stage1[1:2], single.stage1, atol=1e-4)
    assert torch.allclose(batch.stage2[1:2], single.stage2, atol=1e-3)
    assert torch.allclose(batch.score[1:2], single.score, atol=1e-4)


def test_without_refinement_there_is_one_stage():
    config = small_config(refinement=Refinement.none)
    pose = PoseEstimator(config, COCO)(loud(Network(config, COCO.limb_indices, 17)), torch.randn(1, 3, 64, 64))
    assert pose.stage2 is None
    assert pose.stage1.shape == (1, 17, 2)
