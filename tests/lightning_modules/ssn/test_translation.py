import pytest
import torch
from torch.nn import functional as F

from lightning_modules.ssn import translation
from lightning_modules.ssn.translation import translate


def by_the_equation(maps: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Eq. 1, pixel by pixel, in float64: every neighbour outside the map is zero on its own."""
    _, channels, height, width = maps.shape
    shifted = torch.zeros_like(maps)
    for k in range(channels):
        for y in range(height):
            for x in range(width):
                u, v = x - offsets[k, 0].item(), y - offsets[k, 1].item()
                left, top = int(u // 1), int(v // 1)
                for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                    if 0 <= row < height and 0 <= column < width:
                        weight = (1 - abs(u - column)) * (1 - abs(v - row))
                        shifted[:, k, y, x] += weight * maps[:, k, row, column]
    return shifted


def sampled(maps: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """The same by one ``grid_sample`` per channel."""
    height, width = maps.shape[2:]
    y = torch.arange(height)[None, :, None] - offsets[:, 1, None, None]
    x = torch.arange(width)[None, None, :] - offsets[:, 0, None, None]
    grid = torch.stack(torch.broadcast_tensors((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    return F.grid_sample(maps.transpose(0, 1), grid, padding_mode="zeros", align_corners=False).transpose(0, 1)


def example(dtype: torch.dtype = torch.float64, spread: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 7, 6, 5, dtype=dtype, generator=generator)
    offsets = (torch.randn(7, 2, dtype=torch.float64, generator=generator) * spread).to(
        torch.promote_types(dtype, torch.float32)
    )
    return maps, offsets


def test_is_equation_1():
    maps, offsets = example()
    torch.testing.assert_close(translate(maps, offsets), by_the_equation(maps, offsets))


@pytest.mark.parametrize("offset", [(0, 0), (2, 0), (0, -3), (-4, 5), (5, 0), (-5, 0), (0, 6), (40, -40)])
def test_integer_offsets_are_a_roll_with_zeros(offset):
    maps, _ = example(torch.float32)
    dx, dy = offset
    y, x = torch.meshgrid(torch.arange(6), torch.arange(5), indexing="ij")
    came_from_inside = (y - dy >= 0) & (y - dy < 6) & (x - dx >= 0) & (x - dx < 5)
    expected = maps.roll((dy, dx), (2, 3)) * came_from_inside
    assert torch.equal(translate(maps, torch.tensor([[dx, dy]] * 7, dtype=torch.float32)), expected)


@pytest.mark.parametrize("spread", [0.3, 3.0, 20.0])
def test_gradients_are_those_of_grid_sample(spread):
    maps, offsets = example(spread=spread)
    weights = torch.arange(maps.numel(), dtype=torch.float64).view_as(maps).sin()
    found, expected = [
        torch.autograd.grad((form(*inputs) * weights).sum(), inputs)
        for form in (translate, sampled)
        for inputs in [(maps.clone().requires_grad_(), offsets.clone().requires_grad_())]
    ]
    torch.testing.assert_close(found, expected)


def test_gradients_are_finite_differences():
    maps, offsets = example()
    assert torch.autograd.gradcheck(translate, (maps.requires_grad_(), offsets.requires_grad_()))


def test_offsets_learn_in_bfloat16():
    maps, offsets = example(torch.float32)
    weights = torch.arange(maps.numel(), dtype=torch.float32).view_as(maps).sin()
    exact = offsets.clone().requires_grad_()
    (translate(maps, exact) * weights).sum().backward()
    rough = offsets.clone().requires_grad_()
    shifted = translate(maps.bfloat16(), rough)
    assert shifted.dtype is torch.bfloat16
    (shifted.float() * weights).sum().backward()
    assert rough.grad.dtype is torch.float32
    assert (rough.grad - exact.grad).norm() < 0.02 * exact.grad.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_positions_are_not_rounded_to_the_precision_of_the_maps(dtype):
    """Forward and backward, each value is the exact one but for the rounding of the result itself."""
    maps, offsets = example(torch.float32)
    maps = maps.to(dtype)
    weights = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    low = maps.clone().requires_grad_()
    shifted = translate(low, offsets)
    shifted.backward(weights)
    exact = maps.double().requires_grad_()
    reference = by_the_equation(maps.double(), offsets.double())
    translate(exact, offsets.double()).backward(weights.double())
    assert torch.equal(shifted.double(), reference.to(dtype).double())
    assert torch.equal(low.grad.double(), exact.grad.to(dtype).double())


def test_transposed_input_and_a_batch_of_one():
    maps, offsets = example()
    columns_first = maps.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(translate(columns_first, offsets), translate(maps, offsets))
    torch.testing.assert_close(translate(maps[1:], offsets), translate(maps, offsets)[1:])
    torch.testing.assert_close(translate(columns_first[1:], offsets), translate(maps[1:], offsets))
    assert translate(maps[:0], offsets).shape == (0, 7, 6, 5)


@pytest.mark.parametrize("cells", [1, 100, 390])
def test_channels_may_go_through_in_parts(cells, monkeypatch):
    maps, offsets = example(torch.float32)
    weights = torch.arange(maps.numel(), dtype=torch.float32).view_as(maps).sin()

    def moved_and_gradients():
        inputs = maps.clone().requires_grad_(), offsets.clone().requires_grad_()
        moved = translate(*inputs)
        return moved, *torch.autograd.grad((moved * weights).sum(), inputs)

    at_once = moved_and_gradients()
    monkeypatch.setattr(translation, "_CELLS_IN_CACHE", cells / torch.get_num_threads())
    parts = len(list(translation._cut(maps.flatten(0, 1), torch.zeros(14, 2, dtype=torch.int64))))
    assert parts == {1: 14, 100: 5, 390: 2}[cells]  # 30 cells a channel
    assert all(torch.equal(*pair) for pair in zip(moved_and_gradients(), at_once, strict=True))


def test_the_maps_alone_may_want_a_gradient():
    maps, offsets = example()
    expected, _ = torch.autograd.grad(
        sampled(maps.requires_grad_(), offsets.requires_grad_()).square().sum(), (maps, offsets)
    )
    (found,) = torch.autograd.grad(translate(maps, offsets.detach()).square().sum(), (maps,))
    torch.testing.assert_close(found, expected)


def test_keeps_only_its_inputs_for_the_backward_pass():
    maps, offsets = example()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        translate(maps.requires_grad_(), offsets.requires_grad_())
    assert [tensor.shape for tensor in kept] == [maps.shape, offsets.shape]
