import cv2
import numpy as np
import pytest
import torch

from lightning_modules.shared.peaks import argmax_peaks, average_flipped, blur, dark_peaks, quarter_peaks

SIZE = (16, 12)


def gaussians(points: torch.Tensor, sigma: float) -> torch.Tensor:
    """[B, K, 16, 12] around ``points`` [B, K, 2], heatmap indices."""
    y = torch.arange(SIZE[0])[:, None] - points[..., 1, None, None]
    x = torch.arange(SIZE[1]) - points[..., 0, None, None]
    return torch.exp(-(x.square() + y.square()) / (2 * sigma**2))


def places() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(6, 5, 2) * torch.tensor([3.0, 7.0]) + 4


def test_argmax_is_the_highest_cell():
    points, score = argmax_peaks(gaussians(places(), 2.0))
    assert torch.equal(points, places().round())
    assert score.min() > 0.9


def test_quarter_goes_towards_the_higher_neighbour():
    points, _ = quarter_peaks(gaussians(places(), 2.0))
    off = places() - places().round()
    torch.testing.assert_close(points, places().round() + 0.25 * off.sign())


@pytest.mark.parametrize("find", [argmax_peaks, quarter_peaks, dark_peaks])
def test_at_the_border_and_on_a_flat_map(find):
    heatmap = torch.zeros(1, 3, *SIZE)
    heatmap[0, 0, 0, 0] = heatmap[0, 1, 15, 11] = 1.0
    points, score = find(heatmap)
    assert points.tolist() == [[[0, 0], [11, 15], [0, 0]]]
    assert score.tolist() == [[1, 1, 0]]


def test_a_missing_neighbour_on_one_axis_does_not_stop_the_other():
    heatmap = torch.zeros(1, 1, *SIZE)
    heatmap[0, 0, 5, 0], heatmap[0, 0, 6, 0] = 1.0, 0.5
    assert quarter_peaks(heatmap)[0].tolist() == [[[0, 5.25]]]


@pytest.mark.parametrize(("sigma", "error"), [(1.0, 0.02), (1.5, 0.02)])
def test_dark_finds_the_middle_of_a_gaussian(sigma, error):
    points, score = dark_peaks(gaussians(places(), sigma), sigma)
    assert (points - places()).abs().max() < error
    assert torch.equal(score, argmax_peaks(gaussians(places(), sigma))[1])


@pytest.mark.parametrize("kernel", [3, 11, 17])
def test_the_blur_is_opencvs_over_zeros_with_the_old_maximum(kernel):
    torch.manual_seed(0)
    heatmap = torch.rand(2, 3, *SIZE)
    border = kernel // 2
    for found, given in zip(blur(heatmap, kernel).flatten(0, 1), heatmap.flatten(0, 1).numpy(), strict=True):
        smooth = cv2.GaussianBlur(np.pad(given, border), (kernel, kernel), 0)[border:-border, border:-border]
        torch.testing.assert_close(found, torch.from_numpy(smooth * (given.max() / smooth.max())))


def test_darks_kernel_follows_sigma_unless_it_is_given():
    heatmap = gaussians(places(), 1.0) + 0.3 * gaussians(places() + 1.5, 1.0)
    by_kernel = {kernel: dark_peaks(heatmap, 1.0, kernel)[0] for kernel in (3, 11)}
    assert not torch.allclose(by_kernel[3], by_kernel[11], atol=0.01)
    assert torch.equal(dark_peaks(heatmap, 1.0)[0], by_kernel[3])
    assert torch.equal(dark_peaks(heatmap, 2.0)[0], by_kernel[11])


def test_a_step_of_dark_may_be_longer_than_a_cell():
    """The highest cell is a spike three cells beside the middle of a wide Gaussian, which the blurred map shows."""
    heatmap = gaussians(torch.tensor([[[5.0, 8.0]]]), 3.0)
    heatmap[0, 0, 8, 8] += 0.45
    points, _ = dark_peaks(heatmap, 3.0)
    assert argmax_peaks(heatmap)[0].tolist() == [[[8, 8]]]
    assert points[0, 0, 0] == pytest.approx(5.0, abs=0.5)
    assert points[0, 0, 1] == pytest.approx(8.0, abs=1e-4)


def test_the_mirror_image_turned_back_adds_nothing_to_a_symmetric_network():
    swap = torch.tensor([1, 0, 2, 3, 4])
    heatmap = gaussians(places(), 2.0)
    of_mirror = heatmap[:, swap].flip(-1)
    torch.testing.assert_close(average_flipped(heatmap, of_mirror, swap), heatmap)
    shifted = average_flipped(torch.zeros_like(heatmap), of_mirror, swap, shift=1)
    assert torch.equal(shifted[..., 1:], heatmap[..., :-1] / 2)
    assert torch.equal(shifted[..., 0], heatmap[..., 0] / 2)
