import torch
from torch.nn import functional as F

from lightning_modules.shared.fpn import FPN


def test_levels_sizes_and_the_published_parameter_count() -> None:
    fpn = FPN((512, 1024, 2048), 256)
    assert sum(p.numel() for p in fpn.parameters()) == 3_868_672
    small = FPN((4, 6, 8), 5)
    levels = small([torch.randn(2, 4, 13, 20), torch.randn(2, 6, 7, 10), torch.randn(2, 8, 4, 5)])
    assert [tuple(level.shape) for level in levels] == [
        (2, 5, 13, 20),
        (2, 5, 7, 10),
        (2, 5, 4, 5),
        (2, 5, 2, 3),
        (2, 5, 1, 2),
    ]


def test_top_down_path_and_extra_levels_by_hand() -> None:
    torch.manual_seed(6)
    fpn = FPN((2, 3), 4)
    fine, coarse = torch.randn(1, 2, 8, 8), torch.randn(1, 3, 4, 4)
    levels = fpn([fine, coarse])
    top = fpn.laterals[1](coarse)
    below = fpn.laterals[0](fine) + top.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(levels[0], fpn.outputs[0](below))
    torch.testing.assert_close(levels[1], fpn.outputs[1](top))
    torch.testing.assert_close(levels[2], fpn.extras[0](levels[1]))
    torch.testing.assert_close(levels[3], fpn.extras[1](F.relu(levels[2])))
