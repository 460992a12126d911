"""What Graph-PCNN can show over a crop: the heatmaps its guided points come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from datamodules.contracts import PoseBatch
from lightning_modules.shared.relative import relative


def heatmap(module: Any, batch: PoseBatch) -> Tensor:
    """f32 [B, 1, H/4, W/4]: the highest of all keypoints, relative to its maximum."""
    return relative(module.network(batch.images).heatmap_s4)


OVERLAYS: dict[str, Callable[[Any, PoseBatch], Tensor]] = {"heatmap": heatmap}
"""Name -> (module, normalised batch) -> maps over the whole input."""
