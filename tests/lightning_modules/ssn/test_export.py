import pytest
import torch

from lightning_modules.ssn.export import GatheredShift
from lightning_modules.ssn.translation import translate


@pytest.mark.parametrize("span", [0.9, 3.0, 20.0])
def test_gathered_shifts_are_the_translation(span: float) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 32, 6, 9, generator=generator)
    offsets = (torch.rand(32, 2, generator=generator) * 2 - 1) * span
    offsets[:4] = torch.tensor([[0.0, 0.0], [1.0, -2.0], [9.0, 6.0], [-30.0, 2.5]])
    torch.testing.assert_close(GatheredShift(offsets)(maps), translate(maps, offsets))
