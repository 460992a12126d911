import pytest
import torch

from lightning_modules.inspose.locations import cells_inside, level_shapes, locations, map_shape


def test_locations_are_the_papers() -> None:
    grid = locations((64, 100), torch.device("cpu"))
    assert level_shapes((64, 100)) == [(8, 13), (4, 7), (2, 4), (1, 2), (1, 1)]
    expected = []
    for level, (stride, (height, width)) in enumerate(zip((8, 16, 32, 64, 128), level_shapes((64, 100)), strict=True)):
        for y in range(height):
            for x in range(width):
                expected.append((x * stride + stride // 2, y * stride + stride // 2, stride, level))
    points, strides, levels = grid
    found = zip(points.tolist(), strides.tolist(), levels.tolist(), strict=True)
    assert [(*point, stride, level) for point, stride, level in found] == expected
    assert grid.scales[-1].item() == 64 * 2**4


@pytest.mark.parametrize(("stride", "expected"), [(16, (4, 7)), (8, (8, 13)), (4, (16, 26)), (2, (32, 52))])
def test_map_shapes(stride: int, expected: tuple[int, int]) -> None:
    assert map_shape((64, 100), stride) == expected


def test_a_cell_that_touches_the_input_is_inside() -> None:
    inside = cells_inside(torch.tensor([[16, 17], [9, 32]]), (3, 4), 8)
    assert inside[0].tolist() == [[True, True, True, False]] * 2 + [[False] * 4]
    assert inside[1].tolist() == [[True] * 4] * 2 + [[False] * 4]
