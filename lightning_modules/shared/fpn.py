"""Feature pyramid network (Lin et al., Feature Pyramid Networks for Object Detection)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class FPN(nn.Module):
    """Backbone features of rising stride -> as many pyramid levels, and extra coarser ones.

    Args:
        in_channels: of the backbone features, finest first.
        out_channels: of every level.
        extra_levels: 3×3 convolutions of stride 2 on the coarsest level, a ReLU before all but the first.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256, extra_levels: int = 2) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)
        self.outputs = nn.ModuleList(nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels)
        self.extras = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, stride=2, padding=1) for _ in range(extra_levels)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # None only where bias=False

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """``[B, in_channels[i], h_i, w_i]`` -> ``[B, out_channels, h_i, w_i]``, then the extras, each half as fine."""
        merged = [lateral(feature) for lateral, feature in zip(self.laterals, features, strict=True)]
        for i in range(len(merged) - 1, 0, -1):
            merged[i - 1] = merged[i - 1] + F.interpolate(merged[i], size=merged[i - 1].shape[-2:], mode="nearest")
        levels = [output(feature) for output, feature in zip(self.outputs, merged, strict=True)]
        for i, extra in enumerate(self.extras):
            levels.append(extra(F.relu(levels[-1]) if i else levels[-1]))
        return levels
