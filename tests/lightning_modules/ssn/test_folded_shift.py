"""The form of the module for inference; that it computes what the module computes is in ``test_feature_shift.py``."""

import pytest
import torch

from lightning_modules.ssn.folded_shift import FixedTranslation
from lightning_modules.ssn.translation import translate


@pytest.mark.parametrize("hw", [(5, 7), (7, 5), (1, 4), (3, 1), (1, 1)])
@pytest.mark.parametrize("spread", [0.0, 0.6, 3.0, 20.0])
@torch.no_grad()
def test_a_fixed_translation_is_a_translation(hw, spread):
    generator = torch.Generator().manual_seed(3)
    offsets = (torch.rand(40, 2, generator=generator, dtype=torch.float64) - 0.5) * 2 * spread
    offsets[:5] = torch.tensor([[1.0, 0.0], [0.0, -1.0], [hw[1], hw[0]], [-hw[1], -hw[0]], [1e30, -1e30]])
    fixed = FixedTranslation(offsets, *hw)
    for images in (2, 1, 2):
        maps = torch.randn(images, 40, *hw, generator=generator, dtype=torch.float64)
        room, moved = fixed.room(images), torch.full((images, 40, hw[0] * hw[1]), torch.nan, dtype=torch.float64)
        room.maps.copy_(maps.flatten(2))
        fixed(room, moved)
        torch.testing.assert_close(moved.view(maps.shape), translate(maps, offsets))
