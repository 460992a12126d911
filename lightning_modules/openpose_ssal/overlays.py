"""What the CMU network can show over a photograph: heatmaps and part affinity fields of its last stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from datamodules.contracts import PoseBatch
from lightning_modules.shared.relative import relative

_SMALLEST = 1e-12


def heatmap(module: Any, batch: PoseBatch) -> Tensor:
    """f32 [B, 1, h, w]: the highest of all parts, the background left out, relative to its maximum."""
    return relative(module.network(batch.images).heatmaps[-1, :, :-1])


def paf(module: Any, batch: PoseBatch) -> Tensor:
    """f32 [B, 2, h, w], x and y: at each cell the longest vector of all limbs' fields, over the image's longest."""
    fields = module.network(batch.images).pafs[-1].float()
    length = fields.norm(dim=2)
    longest = length.argmax(dim=1)[:, None, None].expand(-1, 1, 2, -1, -1)
    field = fields.gather(1, longest)[:, 0]
    return field / length.amax(dim=(1, 2, 3)).clamp_min(_SMALLEST)[:, None, None, None]


OVERLAYS: dict[str, Callable[[Any, PoseBatch], Tensor]] = {"heatmap": heatmap, "paf": paf}
"""Name -> (module, normalised batch) -> maps over the whole input."""
