import math

import pytest
import torch

from lightning_modules.shared.gaussians import bell, draw_gaussians, gaussian_radius, reaches_map, window_cells


def test_radius_by_hand() -> None:
    # 37.5 × 18.75 cells, overlap 0.9; only the third quadratic's root is small
    width, height = 37.5, 18.75
    a, b, c = 3.6, -1.8 * (width + height), -0.1 * width * height
    expected = (b + math.sqrt(b * b - 4 * a * c)) / 2
    found = gaussian_radius(torch.tensor([width, 1.0]), torch.tensor([height, 1.0]), 0.9)
    assert found[0].item() == pytest.approx(expected, rel=1e-5)
    assert 2 < expected < 3
    assert 0 < found[1].item() < 1


def test_radius_is_symmetric_and_grows() -> None:
    width, height = torch.rand(50) * 60 + 1, torch.rand(50) * 60 + 1
    torch.testing.assert_close(gaussian_radius(width, height, 0.9), gaussian_radius(height, width, 0.9))
    assert (gaussian_radius(2 * width, 2 * height, 0.9) > gaussian_radius(width, height, 0.9)).all()


def by_loop(centers, radii, is_drawn, map_hw):
    batch, persons, keypoints = is_drawn.shape
    maps = torch.zeros(batch, keypoints, *map_hw, dtype=torch.float64)
    for b in range(batch):
        for p in range(persons):
            for k in range(keypoints):
                if not is_drawn[b, p, k]:
                    continue
                radius, (cx, cy) = int(radii[b, p]), centers[b, p, k].tolist()
                sigma = (2 * radius + 1) / 6
                for y in range(max(0, cy - radius), min(map_hw[0], cy + radius + 1)):
                    for x in range(max(0, cx - radius), min(map_hw[1], cx + radius + 1)):
                        value = math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
                        maps[b, k, y, x] = max(maps[b, k, y, x].item(), value)
    return maps


def test_drawing_equals_the_loop() -> None:
    torch.manual_seed(4)
    centers = torch.stack([torch.randint(-2, 14, (2, 5, 3)), torch.randint(-2, 11, (2, 5, 3))], dim=-1)
    radii, is_drawn = torch.randint(0, 4, (2, 5)).float(), torch.rand(2, 5, 3) < 0.7
    found = draw_gaussians(centers, radii, is_drawn, (9, 12), max_radius=3)
    torch.testing.assert_close(found.double(), by_loop(centers, radii, is_drawn, (9, 12)), atol=1e-7, rtol=1e-6)


def test_centres_are_exactly_one_and_nobody_gives_zeros() -> None:
    centers = torch.tensor([[[[3, 4]]]])
    shown = draw_gaussians(centers, torch.tensor([[2.0]]), torch.tensor([[[True]]]), (8, 8), 3)
    assert shown[0, 0, 4, 3].item() == 1.0
    assert (shown == 1).sum() == 1
    assert not draw_gaussians(centers, torch.tensor([[2.0]]), torch.tensor([[[False]]]), (8, 8), 3).any()
    assert draw_gaussians(centers[:, :0], torch.zeros(1, 0), torch.zeros(1, 0, 5).bool(), (8, 8), 3).shape == (
        1,
        5,
        8,
        8,
    )


def test_window_at_a_corner() -> None:
    offsets, index, is_inside = window_cells(torch.tensor([0, 0]), 1, (4, 5))
    assert offsets.tolist()[:3] == [[-1, -1], [0, -1], [1, -1]]
    assert is_inside.view(3, 3).tolist() == [[False] * 3, [False, True, True], [False, True, True]]
    assert index.view(3, 3)[1:, 1:].tolist() == [[0, 1], [5, 6]]


def test_a_gaussian_reaches_the_map_up_to_three_sigma_beyond_its_outermost_cells() -> None:
    inside = [[0.0, 0.0], [-3.0, 5.0], [9.0, 10.0], [3.0, -3.0], [-3.0, -3.0]]
    outside = [[-3.1, 5.0], [9.1, 5.0], [3.0, 10.1], [3.0, -3.1], [2.0, 1e6]]
    assert reaches_map(torch.tensor([inside, outside]), 1.0, (8, 7)).tolist() == [[True] * 5, [False] * 5]


def test_the_product_of_two_bells_is_a_gaussian_without_subnormal_numbers() -> None:
    steps = torch.arange(-60, 61) * 0.5
    heatmap = bell(steps, 1.5)[:, None] * bell(steps, 1.5)
    squared = (steps.double()[:, None] ** 2 + steps.double() ** 2) / (2 * 1.5**2)
    torch.testing.assert_close(heatmap, torch.exp(-squared).float(), rtol=1e-5, atol=1e-17)
    assert heatmap.max() == 1
    assert heatmap[heatmap > 0].min() >= torch.finfo(torch.float32).tiny
    assert (heatmap == 0).any()
