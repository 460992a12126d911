import pytest
import torch
import torch.nn.functional as F

from lightning_modules.openpose_ssal.resampling import resample


@pytest.mark.parametrize(("factor", "antialias"), [(8, False), (2, False), (1, False), (0.5, True), (0.25, True)])
def test_whole_factors_equal_interpolate(factor, antialias):
    maps = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    size = (int(32 * factor), int(48 * factor))
    expected = F.interpolate(maps, size=size, mode="bicubic", antialias=antialias)
    found = resample(maps, torch.full((2,), float(factor)), size)
    # Antialiasing, interpolate leaves out what lies beyond the border instead of repeating it.
    inner = slice(2, -2) if antialias else slice(None)
    torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner], rtol=1e-4, atol=1e-5)


def test_each_image_has_its_own_factor_and_a_ramp_stays_in_place():
    ramp = (torch.arange(40.0) + 0.5).expand(2, 1, 40, 40)
    factor = torch.tensor([1.7, 0.6])
    found = resample(ramp, factor, (20, 20))
    x = torch.arange(20.0) + 0.5
    for image in range(2):
        position = x / factor[image]
        inner = (position > 5) & (position < 35)
        torch.testing.assert_close(found[image, 0, 7, inner], position[inner], rtol=0, atol=0.06)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_beyond_the_input_its_border_repeats(factor):
    maps = torch.rand(1, 1, 4, 4)
    found = resample(maps, torch.tensor([factor]), (60, 60))
    assert found.isfinite().all()
    torch.testing.assert_close(found[0, 0, -1, -1], maps[0, 0, -1, -1])
