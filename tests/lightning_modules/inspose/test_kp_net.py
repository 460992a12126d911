import pytest
import torch
from torch.nn import functional as F

from lightning_modules.inspose import kp_net
from lightning_modules.inspose.kp_net import KPNetShape, apply_kp_nets, resample, split_parameters


@pytest.mark.parametrize(("depth", "published"), [(1, 187), (2, 241), (3, 313), (4, 385)])
def test_parameter_counts_are_the_papers(depth: int, published: int) -> None:
    assert KPNetShape(8, depth, 17).num_parameters == published


def by_loop(features, parameters, locations, scales, shape):
    """One instance at a time: coordinates built, 1×1 convolutions with weights cut from the flat vector."""
    height, width = features.shape[-2:]
    maps = features.new_zeros(*parameters.shape[:2], shape.num_keypoints, height, width)
    for b in range(parameters.shape[0]):
        for n in range(parameters.shape[1]):
            relative = features.new_zeros(2, height, width)
            for y in range(height):
                for x in range(width):
                    relative[0, y, x] = (x * 8 + 4 - locations[b, n, 0]) / scales[b, n]
                    relative[1, y, x] = (y * 8 + 4 - locations[b, n, 1]) / scales[b, n]
            hidden, rest = torch.cat([features[b], relative])[None], parameters[b, n]
            for i in range(shape.depth):
                inputs = shape.channels + 2 if i == 0 else shape.channels
                outputs = shape.num_keypoints if i == shape.depth - 1 else shape.channels
                weight, bias = rest[: inputs * outputs], rest[inputs * outputs : inputs * outputs + outputs]
                rest = rest[inputs * outputs + outputs :]
                hidden = F.conv2d(hidden, weight.view(outputs, inputs, 1, 1), bias)
                hidden = hidden.relu() if i < shape.depth - 1 else hidden
            assert not len(rest)
            maps[b, n] = hidden[0]
    return maps


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_equals_a_loop_over_instances(depth: int) -> None:
    torch.manual_seed(7)
    shape = KPNetShape(8, depth, 17)
    features = torch.randn(2, 8, 5, 6)
    parameters = torch.randn(2, 3, shape.num_parameters) * 0.3
    locations, scales = torch.rand(2, 3, 2) * 48, torch.tensor([[64.0, 128.0, 1024.0]] * 2)
    expected = by_loop(features.double(), parameters.double(), locations.double(), scales.double(), shape)
    found = apply_kp_nets(features, parameters, locations, scales, shape)
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-4)


def test_gradients_reach_features_and_parameters() -> None:
    torch.manual_seed(8)
    shape = KPNetShape(4, 3, 2)
    features = torch.randn(1, 4, 3, 3, requires_grad=True)
    parameters = torch.randn(1, 2, shape.num_parameters, requires_grad=True)
    where, scales = torch.rand(1, 2, 2) * 24, torch.full((1, 2), 64.0)
    apply_kp_nets(features, parameters, where, scales, shape).square().sum().backward()
    found = features.grad, parameters.grad
    features.grad = parameters.grad = None
    by_loop(features, parameters, where, scales, shape).square().sum().backward()
    torch.testing.assert_close(found, (features.grad, parameters.grad), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("cells", [1, 45, 1000])
def test_parts_of_the_instances_give_the_same(depth: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(10)
    shape = KPNetShape(8, depth, 17)
    features, where = torch.randn(2, 8, 4, 5), torch.rand(2, 5, 2) * 40
    parameters = torch.randn(2, 5, shape.num_parameters)
    scales = torch.full((2, 5), 64.0)
    learning = parameters.clone().requires_grad_()
    at_once = apply_kp_nets(features, learning, where, scales, shape)  # a backward pass may come: no parts
    assert at_once.requires_grad
    monkeypatch.setattr(kp_net, "_CELLS_IN_CACHE", cells)
    found = apply_kp_nets(features, parameters, where, scales, shape)
    torch.testing.assert_close(found, at_once.detach())
    with torch.no_grad():
        assert torch.equal(apply_kp_nets(features, learning, where, scales, shape), found)
    assert apply_kp_nets(features, parameters[:, :0], where[:, :0], scales[:, :0], shape).shape == (2, 0, 17, 4, 5)


def test_autocast_does_not_blur_the_coordinates() -> None:
    torch.manual_seed(9)
    shape = KPNetShape(8, 3, 17)
    features, parameters = torch.randn(1, 8, 4, 200), torch.randn(1, 2, shape.num_parameters)
    where, scales = torch.tensor([[[1300.0, 9.0], [20.0, 30.0]]]), torch.full((1, 2), 64.0)
    expected = apply_kp_nets(features, parameters, where, scales, shape)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = apply_kp_nets(features, parameters, where, scales, shape)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_the_flat_order() -> None:
    shape = KPNetShape(2, 2, 3)
    (w1, b1), (w2, b2) = split_parameters(torch.arange(float(shape.num_parameters))[None, None], shape)
    assert w1[0, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert b1[0, 0].tolist() == [8, 9]
    assert w2[0, 0].tolist() == [[10, 11], [12, 13], [14, 15]]
    assert b2[0, 0].tolist() == [16, 17, 18]


@pytest.mark.parametrize("stride", [4, 2])
def test_upsampling_keeps_linear_maps_in_place(stride: int) -> None:
    x = torch.arange(8) * 8.0 + 4
    maps = (3 * x[None, :] - 2 * x[:, None]).expand(2, 3, 2, 8, 8).contiguous()
    fine = (torch.arange(64 // stride) + 0.5) * stride
    expected = 3 * fine[None, :] - 2 * fine[:, None]
    edge = 8 // stride
    found = resample(maps, stride)[1, 2, 0]
    torch.testing.assert_close(found[edge:-edge, edge:-edge], expected[edge:-edge, edge:-edge])


def test_halving_is_the_mean_of_two_by_two_also_at_an_odd_border() -> None:
    maps = torch.arange(15.0).view(1, 1, 3, 5)
    assert resample(maps, 16)[0, 0].tolist() == [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]
    assert resample(maps, 8) is maps
