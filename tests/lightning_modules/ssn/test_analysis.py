import pytest
import torch
from torch import nn

from lightning_modules.ssn.analysis import (
    clearest_channel,
    effective_receptive_field,
    input_maps,
    keypoint_scores,
    window,
)
from lightning_modules.ssn.config import Architecture, Config, CorrelationAttention, EarlyPredictor, FeatureShiftConfig
from lightning_modules.ssn.feature_shift import FeatureShiftModule
from lightning_modules.ssn.network import Network, feature_shift_modules


def module(kind: CorrelationAttention = CorrelationAttention.sigmoid) -> FeatureShiftModule:
    torch.manual_seed(0)
    shift = FeatureShiftModule(4, 3, FeatureShiftConfig(correlation_attention=kind, insert_step=0)).eval()
    nn.init.normal_(shift.expand.weight)
    nn.init.zeros_(shift.reduce.bias)
    return shift


def test_the_windows_energy_adds_up_to_the_non_local_map_of_ones():
    """Where P is 1 everywhere, Eq. 4's sum is that of the weights at the window positions inside the map."""
    for kind in CorrelationAttention:
        shift, ones = module(kind), torch.ones(1, 4, 9, 7)
        formed = window(shift, ones, channel=2, cell=(3, 5))
        torch.testing.assert_close(formed.energy.sum(), shift.non_local_maps(ones)[0, 2, 5, 3])
        torch.testing.assert_close(formed.positions, torch.tensor([3.0, 5.0]) - shift.shift.offsets)


def test_without_attention_the_receptive_field_is_the_window():
    shift = module(CorrelationAttention.none)
    nn.init.zeros_(shift.shift.offsets)
    with torch.no_grad():
        shift.shift.offsets += torch.tensor([[2.0, 0.0], [-1.0, 3.0], [-1.0, 3.0]])
    field = effective_receptive_field(shift, torch.rand(1, 4, 9, 7), channel=1, cell=(3, 5))
    seen = {(int(x), int(y)) for y, x in field.nonzero().tolist()}
    assert seen == {(1, 5), (4, 2)}
    alpha, beta = shift.reduce.weight[:, :, 0, 0], shift.expand.weight[1, :, 0, 0]
    torch.testing.assert_close(field[5, 1], (beta[0] * alpha[0]).square().sum())
    torch.testing.assert_close(field[2, 4], (beta[1] * alpha[1] + beta[2] * alpha[2]).square().sum())


def three_block(kind: CorrelationAttention = CorrelationAttention.sigmoid) -> Network:
    torch.manual_seed(0)
    shift = FeatureShiftConfig(channels=5, correlation_attention=kind, insert_step=0)
    config = Config(architecture=Architecture.three_block, feature_shift=shift, early_predictors=EarlyPredictor.none)
    return Network(config, 6).eval()


def test_scores_know_which_channels_matter():
    network = three_block()
    last = feature_shift_modules(network)[2]
    nn.init.normal_(last.expand.weight, std=0.1)
    with torch.no_grad():
        last.expand.weight[:, 3] = 0  # nobody reads channel 3
    scores = keypoint_scores(network, last, [torch.randn(2, 3, 32, 32)])
    assert scores.shifted.shape == scores.attention.shape == (6, 5)
    assert scores.non_local.shape == scores.inputs.shape == (6, 256)
    for table in (scores.shifted, scores.attention):
        assert torch.equal(table[:, 3], torch.zeros(6))
        read = table[:, [0, 1, 2, 4]]
        torch.testing.assert_close(read.amax(0), torch.ones(4))
        assert (read >= 0).all()
        assert read.std(0).min() > 0


def test_scores_are_the_supplements_gradients():
    """Step by step for one keypoint: the maximum set to zero, the squared error, its gradient averaged over the map."""
    network, images = three_block(CorrelationAttention.none), torch.randn(2, 3, 32, 32)
    last = feature_shift_modules(network)[2]
    nn.init.normal_(last.expand.weight, std=0.1)
    expected = torch.zeros(6, 256)
    (before,) = input_maps(network, [last], images)
    for image in range(2):
        for keypoint in range(6):
            maps = before[image : image + 1].clone().requires_grad_()
            body = list(network.body)
            prediction = nn.Sequential(*body[body.index(last) :])(maps)[0]
            target = prediction.detach().clone()
            target[keypoint].view(-1)[prediction[keypoint].argmax()] = 0
            (gradient,) = torch.autograd.grad(((prediction - target) ** 2).mean(), maps)
            expected[keypoint] += gradient[0].mean((1, 2)).abs()
    expected /= expected.amax(0)
    for crops in ([images], images.split(1)):
        scores = keypoint_scores(network, last, crops)
        torch.testing.assert_close(scores.inputs, expected, rtol=1e-3, atol=1e-4)
        assert scores.attention is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_gradient_times_activation_tells_a_weak_branch_from_its_input():
    """N adds to P, so their gradients are nearly equal however small N is; the parts of the sum are not."""
    network, images = three_block(), torch.randn(2, 3, 32, 32)
    last = feature_shift_modules(network)[2]
    nn.init.normal_(last.expand.weight, std=1e-3)
    scores = keypoint_scores(network, last, [images])
    counts = [int((table > 0.5).sum()) for table in (scores.non_local, scores.inputs)]
    assert counts[0] == pytest.approx(counts[1], rel=0.1)
    assert scores.non_local_parts.max() < 0.1
    parts = torch.cat([scores.non_local_parts, scores.input_parts])
    present = parts.amax(0) > 0
    torch.testing.assert_close(parts.amax(0)[present], torch.ones(int(present.sum())))


def test_the_clearest_channel_responds_at_both_points_of_every_crop():
    maps = torch.rand(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    cells = torch.tensor([[[1, 2], [5, 7]], [[0, 0], [3, 4]]])
    for crop in range(2):
        for x, y in cells[crop].tolist():
            maps[crop, 1, y, x] = 4.0
        x, y = cells[crop, 0].tolist()
        maps[crop, 2, y, x] = 90.0  # strong, but at one of the points only
    assert clearest_channel(maps, cells) == 1
