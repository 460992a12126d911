"""Maps as pictures of them need them: between 0 and 1."""

from __future__ import annotations

from torch import Tensor

_SMALLEST = 1e-12


def relative(maps: Tensor) -> Tensor:
    """[B, K, h, w] -> f32 [B, 1, h, w]: the largest of the K at each cell, over the image's maximum; in [0, 1]."""
    highest = maps.float().amax(dim=1, keepdim=True).clamp_min(0.0)
    return highest / highest.amax(dim=(2, 3), keepdim=True).clamp_min(_SMALLEST)
