"""Says where a step of accumulated batches differs from the step of as many devices."""

from __future__ import annotations

import pytorch_lightning as pl


def difference(module: pl.LightningModule, *, accumulate: int, sync_batchnorm: bool) -> str | None:
    """One line on what differs; None without accumulation, and where both steps are the same.

    Devices average their gradients as accumulated batches do, so a loss that divides by a number of the batch alone is
    the same either way. A module that sets ``counts_over_ranks`` divides by counts that devices share.
    """
    differs = []
    if getattr(module, "counts_over_ranks", False):
        differs.append("each batch divides its loss by its own counts of people and keypoints, which devices share")
    if sync_batchnorm:
        differs.append("each batch is normalised by its own statistics, which devices share")
    if accumulate == 1 or not differs:
        return None
    return f"{accumulate} batches accumulated are not {accumulate} devices: {'; '.join(differs)} (docs/cluster.md)"
