"""What SSA can show over a photograph: its heatmaps, and the attention that its masks are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from datamodules.contracts import PoseBatch
from lightning_modules.shared.relative import relative


def heatmap(module: Any, batch: PoseBatch) -> Tensor:
    """f32 [B, 1, H/4, W/4]: the highest of all keypoints, relative to its maximum."""
    return relative(module.network(batch.images).heatmap_s4)


def attention(module: Any, batch: PoseBatch) -> Tensor:
    """f32 [B, 1, H/r, W/r]: the mean attention of each person's joints over its maximum (Section 2.5), the highest."""
    output = module.network(batch.images)
    nobody = torch.zeros(1, *output.grid, device=batch.images.device)
    return torch.stack(
        [
            torch.cat([nobody, people.attention]).amax(dim=0, keepdim=True)
            for people in module.decoder(output, batch.meta.input_hw)
        ]
    )


OVERLAYS: dict[str, Callable[[Any, PoseBatch], Tensor]] = {"heatmap": heatmap, "attention": attention}
"""Name -> (module, normalised batch) -> maps over the whole input."""
