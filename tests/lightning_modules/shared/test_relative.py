import torch

from lightning_modules.shared.relative import relative


def test_the_largest_over_the_images_maximum() -> None:
    maps = torch.tensor([[[[1.0, 4.0]], [[2.0, -1.0]]], [[[-3.0, -1.0]], [[-2.0, -5.0]]]])
    assert relative(maps).tolist() == [[[[0.5, 1.0]]], [[[0.0, 0.0]]]]
