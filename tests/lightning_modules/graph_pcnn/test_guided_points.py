"""Where guided points fall, how they are labelled, and that shuffling carries everything along."""

import math

import pytest
import torch

from lightning_modules.graph_pcnn import guided_points
from lightning_modules.graph_pcnn.config import Config
from lightning_modules.graph_pcnn.guided_points import GuidedPointSampler, split_points
from losses.guided_point import GuidedPointClassification, GuidedPointRegression

SIZE = torch.Size([64, 48])
LIMIT = torch.tensor([47.0, 63.0])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def corners_and_middle():
    """Joints at the middle, on the four corners, and a pixel outside the map, where the frame still has them."""
    return torch.tensor([[[24.0, 32.0], [0.0, 0.0], [47.0, 63.0], [48.0, 64.0], [48.0, 1.0], [0.2, 63.9]]])


@pytest.mark.parametrize(
    ("total", "proportion", "counts"),
    [
        (48, [1, 1, 1], (16, 16, 16)),
        (192, [1, 1, 1], (64, 64, 64)),
        (432, [1, 1, 1], (144, 144, 144)),
        (48, [1, 2, 0], (16, 32, 0)),
        (50, [1, 1, 1], (17, 17, 16)),
        (50, [1, 3, 0], (13, 37, 0)),
        (50, [0, 1, 2], (0, 17, 33)),
    ],
)
def test_points_are_split_by_the_shares(total, proportion, counts):
    assert split_points(total, proportion) == counts


@pytest.mark.parametrize(
    ("total", "proportion", "message"),
    [
        (48, [1, 1], "three shares"),
        (48, [0, 0, 0], "not all zero"),
        (48, [-1, 1, 1], "negative"),
        (2, [1, 1, 1], "fewer points"),
    ],
)
def test_impossible_splits_name_the_key(total, proportion, message):
    with pytest.raises(ValueError, match=message):
        split_points(total, proportion)


def test_near_points_are_uniform_in_the_disk():
    center = torch.tensor([[[24.0, 32.0]]])
    points = guided_points.near_points(center, 20000, 6.0, SIZE, generator())
    away = points - center[:, :, None]
    radius = away.norm(dim=-1)
    assert radius.max() < 6.0
    assert radius.max() > 5.99
    # In a uniform disk P(r < ρ) = ρ² / R² and all quadrants are alike; 4 standard errors.
    for fraction in (0.25, 0.5, 0.75):
        assert (radius < 6 * math.sqrt(fraction)).float().mean().item() == pytest.approx(fraction, abs=0.015)
    assert (away > 0).float().mean((0, 1, 2)).tolist() == pytest.approx([0.5, 0.5], abs=0.015)
    assert (away.prod(-1) > 0).float().mean().item() == pytest.approx(0.5, abs=0.015)


def test_only_four_ninths_of_the_near_points_are_reliable():
    sampler = GuidedPointSampler((9000, 0, 0), 6.0, 4.0)
    heatmap = torch.zeros(1, 1, 128, 96)
    points = sampler(heatmap, torch.tensor([[[50.0, 60.0]]]), torch.ones(1, 1).bool(), generator())
    assert points.is_positive.all()
    assert points.is_reliable.float().mean().item() == pytest.approx(4 / 9, abs=0.02)


def test_near_points_at_the_border_are_positive_and_on_the_map():
    center = corners_and_middle()
    points = guided_points.near_points(center, 5000, 6.0, SIZE, generator())
    assert ((points >= 0) & (points <= LIMIT)).all()
    assert ((points - center[:, :, None]).norm(dim=-1) < 6.0).all()


@pytest.mark.parametrize("shuffle", [True, False])
def test_points_of_joints_outside_the_map_stay_on_it_with_true_labels(shuffle):
    """Near points are positive as long as the disk meets the map; beyond a corner it may not, and none is."""
    target = torch.tensor([[[-5.5, 20.0], [20.0, 68.5], [-4.0, -4.2], [-5.0, -5.0], [52.9, 63.0]]])
    sampler = GuidedPointSampler((16, 16, 16), 6.0, 4.0, shuffle)
    labelled = torch.ones(1, 5).bool()
    points = sampler(torch.rand(1, 5, *SIZE, generator=generator(1)), target, labelled, generator())
    assert ((points.position >= 0) & (points.position <= LIMIT)).all()
    torch.testing.assert_close(points.offset, target[:, :, None] - points.position)
    assert torch.equal(points.is_positive, points.offset.norm(dim=-1) < 6)
    assert torch.equal(points.is_reliable, points.offset.norm(dim=-1) < 4)
    positives = points.is_positive.sum(-1)[0].tolist()
    assert min(positives[:3] + positives[4:]) >= 16
    assert positives[3] == 0
    arguments = (points.offset, points.is_positive, torch.ones(1, 5))
    assert GuidedPointClassification(2.0)(torch.zeros(1, 5, 48, 2), *arguments).isfinite()
    assert GuidedPointRegression()(torch.zeros(1, 5, 48, 2), *arguments).isfinite()


def test_far_points_are_negative_on_the_map_and_uniform():
    center = corners_and_middle()
    points = guided_points.far_points(center, 5000, 6.0, SIZE, generator())
    assert ((points >= 0) & (points <= LIMIT)).all()
    assert ((points - center[:, :, None]).norm(dim=-1) >= 6.0).all()
    # Left half of the map without the half disk around its middle.
    left = (points[0, 0, :, 0] < 23.5).float().mean().item()
    assert left == pytest.approx(0.5, abs=0.03)
    # Of a map that a radius of 20 around the middle covers by 42 %, every quarter holds a quarter.
    wide = guided_points.far_points(torch.tensor([[[23.5, 31.5]]]), 20000, 20.0, SIZE, generator())[0, 0]
    quarter = ((wide > torch.tensor([23.5, 31.5])).float() @ torch.tensor([1.0, 2.0])).long().bincount(minlength=4)
    assert (quarter / 20000).tolist() == pytest.approx([0.25] * 4, abs=0.015)


def test_far_points_of_a_map_inside_the_radius_take_the_farthest_corner():
    points = guided_points.far_points(torch.tensor([[[1.0, 6.0]]]), 5, 40.0, torch.Size([8, 6]), generator())
    assert torch.equal(points, torch.tensor([5.0, 0.0]).expand(1, 1, 5, 2))


def test_high_response_points_are_different_cells_of_the_top():
    heatmap = torch.rand(2, 3, 16, 12, generator=generator(1))
    points = guided_points.high_response_points(heatmap, 16, 48, generator())
    cells = (points[..., 1] * 12 + points[..., 0]).long()
    threshold = heatmap.flatten(2).sort(dim=2, descending=True).values[..., 47:48]
    assert (heatmap.flatten(2).gather(2, cells) >= threshold).all()
    assert all(len(set(row)) == 16 for row in cells.flatten(0, 1).tolist())
    # Over many draws every one of the 48 cells comes up.
    drawn = guided_points.high_response_points(heatmap[:1, :1].expand(1, 200, -1, -1), 16, 48, generator())
    assert len(torch.unique(drawn.flatten(0, 2), dim=0)) == 48


def test_labels_follow_from_the_distance():
    sampler = GuidedPointSampler.from_config(Config(num_points=48, sigma=1.0))
    heatmap = torch.rand(2, 17, 32, 24, generator=generator(2))
    target = torch.rand(2, 17, 2, generator=generator(3)) * torch.tensor([24.0, 32.0])
    labelled = torch.rand(2, 17, generator=generator(4)) < 0.7
    points = sampler(heatmap, target, labelled, generator())
    assert points.position.shape == (2, 17, 48, 2)
    distance = (points.position - target[:, :, None]).norm(dim=-1)
    assert torch.equal(points.is_positive, (distance < 3.0) & labelled[..., None])
    assert torch.equal(points.is_reliable, (distance < 2.0) & labelled[..., None])
    assert (points.position + points.offset - target[:, :, None])[labelled].abs().max() < 1e-5
    assert (points.is_positive.sum(-1)[labelled] >= 16).all()
    assert ((~points.is_positive).sum(-1)[labelled] >= 16).all()


def test_shuffling_carries_labels_and_heat():
    """With and without shuffling from one seed: the same points, each with its own offset, labels and heat."""
    heatmap = torch.rand(1, 5, 64, 48, generator=generator(5))
    target = torch.rand(1, 5, 2, generator=generator(6)) * LIMIT
    labelled = torch.tensor([[True, True, True, True, False]])
    plain, shuffled = (
        GuidedPointSampler((10, 10, 10), 6.0, 4.0, shuffle)(heatmap, target, labelled, generator())
        for shuffle in (False, True)
    )
    assert not torch.equal(plain.position, shuffled.position)
    orders = set()
    for k in range(5):
        rows = [
            torch.cat(
                [p.position, p.offset, p.heat[..., None], p.is_positive[..., None], p.is_reliable[..., None]], -1
            )[0, k]
            for p in (plain, shuffled)
        ]
        order = (rows[1][:, None, :2] - rows[0][None, :, :2]).abs().sum(-1).argmin(1)
        assert sorted(order.tolist()) == list(range(30))
        assert torch.equal(rows[1], rows[0][order])
        orders.add(tuple(order.tolist()))
    assert len(orders) == 5, "each keypoint is shuffled by itself"


def test_bilinear_values_equal_the_four_neighbours():
    maps = torch.randn(2, 3, 8, 6, dtype=torch.float64, generator=generator(7)).float()
    position = torch.rand(2, 3, 11, 2, generator=generator(8)) * torch.tensor([5.0, 7.0])
    position[:, :, 0] = torch.tensor([5.0, 7.0])
    features = guided_points.features_at(maps, position)
    heat = guided_points.heat_at(maps, position)
    for b, k, n in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(11)).tolist():
        x, y = position[b, k, n].double().tolist()
        i, j = min(int(x), 4), min(int(y), 6)
        u, v = x - i, y - j
        square = maps[b, :, j : j + 2, i : i + 2].double()
        weights = torch.tensor([[(1 - u) * (1 - v), u * (1 - v)], [(1 - u) * v, u * v]], dtype=torch.float64)
        value = (square * weights).sum((1, 2))
        assert torch.allclose(features[b, k, n].double(), value, atol=1e-5)
        assert heat[b, k, n].item() == pytest.approx(max(value[k].item(), 0.0), abs=1e-5)


def test_points_carry_no_gradient_into_the_heatmap():
    heatmap = torch.rand(1, 2, 16, 12, requires_grad=True)
    points = GuidedPointSampler((4, 4, 4), 3.0, 2.0)(heatmap, torch.ones(1, 2, 2), torch.ones(1, 2).bool())
    assert not any(field.requires_grad for field in points)


def test_more_points_than_cells_name_the_key():
    heatmap, target = torch.zeros(1, 1, 8, 6), torch.zeros(1, 1, 2)
    with pytest.raises(ValueError, match=r"model\.num_points=49: a heatmap of 8×6 has fewer cells"):
        GuidedPointSampler((16, 16, 17), 3.0, 2.0)(heatmap, target, torch.ones(1, 1, dtype=torch.bool))
