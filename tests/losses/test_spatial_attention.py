import math

import pytest
import torch

from losses.spatial_attention import SpatialAttention, segment_gaussian, squared_segment_distance


def test_weights_at_the_line_and_at_one_and_two_sigma():
    # A limb of 64 px on cells of 8 px is 8 cells long: sigma is 2 cells, 16 px.
    start, end = torch.tensor([10.0, 20.0]), torch.tensor([74.0, 20.0])
    x, y = torch.tensor([40.0, 40.0, 40.0, 90.0]), torch.tensor([20.0, 36.0, 52.0, 20.0])
    weights = SpatialAttention(alpha=10)(segment_gaussian(x, y, start, end, cell=8))
    expected = [11, 10 / math.e + 1, 10 * math.exp(-4) + 1, 10 / math.e + 1]
    assert weights.tolist() == pytest.approx(expected, rel=1e-5)
    assert weights.tolist() == pytest.approx([11, 4.68, 1.18, 4.68], abs=5e-3)


def test_zero_alpha_is_exactly_one():
    assert (SpatialAttention(alpha=0)(torch.rand(7)) == 1).all()


def test_distance_against_a_dense_walk_along_the_segment():
    generator = torch.Generator().manual_seed(1)
    start, end, point = torch.rand(3, 50, 2, generator=generator, dtype=torch.float64) * 100
    walk = start[:, None] + torch.linspace(0, 1, 20001, dtype=torch.float64)[:, None] * (end - start)[:, None]
    nearest = (walk - point[:, None]).square().sum(-1).amin(1)
    found = squared_segment_distance(point[:, 0], point[:, 1], start, end)
    torch.testing.assert_close(found, nearest, rtol=1e-4, atol=1e-4)


def test_segment_of_length_zero_is_a_point_with_the_smallest_sigma():
    point = torch.tensor([8.0, 8.0])
    gaussian = segment_gaussian(torch.tensor([8.0, 12.0]), torch.tensor([8.0, 8.0]), point, point, 8, min_sigma=0.5)
    assert gaussian.tolist() == pytest.approx([1, 1 / math.e], rel=1e-6)
