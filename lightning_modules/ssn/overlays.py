"""What SSN can show over a crop: its heatmaps, and where its last feature shifting module attends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from datamodules.contracts import PoseBatch
from lightning_modules.shared.relative import relative
from lightning_modules.ssn.folded_shift import FoldedShift
from lightning_modules.ssn.network import feature_shift_modules


def heatmap(module: Any, batch: PoseBatch) -> Tensor:
    """f32 [B, 1, H/4, W/4]: the highest of all keypoints, relative to its maximum."""
    return relative(module.network(batch.images).heatmap_s4)


def attention(module: Any, batch: PoseBatch) -> Tensor:
    """f32 [B, 1, h, w]: F of Eq. 6 in the last module that has it, averaged over the K shifted maps, relative.

    Raises:
        ValueError: no module of the network has attention and takes part.
    """
    inserted = [part.attention for part in feature_shift_modules(module.network) if part.is_inserted]
    shares: list[nn.Module] = [attention.share for attention in inserted if attention is not None]
    shares += [part.share for part in module.network.modules() if isinstance(part, FoldedShift) and part.share]
    if not shares:
        raise ValueError("no feature shifting module of this checkpoint attends; --show heatmap is left")
    seen: list[Tensor] = []
    hook = shares[-1].register_forward_hook(lambda *given: seen.append(given[2]))
    try:
        module.network(batch.images)
    finally:
        hook.remove()
    return relative(seen[-1].float().mean(1, keepdim=True))


OVERLAYS: dict[str, Callable[[Any, PoseBatch], Tensor]] = {"heatmap": heatmap, "attention": attention}
"""Name -> (module, normalised batch) -> maps over the whole input."""
