"""Self-supervision: small networks that generate one prediction from the other, in training only (Fig. 7)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.openpose_ssal.config import SelfSupervision
from lightning_modules.openpose_ssal.network import Output, initialise


class Generated(NamedTuple):
    """What the converters make of the S stages' predictions; None where the configuration has no such converter."""

    heatmaps: Tensor | None
    """[S, B, parts + 1, h, w], from the fields."""
    pafs: Tensor | None
    """[S, B, limbs, 2, h, w], from the heatmaps."""


class Converters(nn.Module):
    """One converter per stage and direction: 3×3 to 128, 3×3 to 128, 1×1 to the other prediction's channels.

    The paper names three layers and their channels; kernels, the ReLUs between and one converter per stage are choices.
    """

    def __init__(
        self,
        direction: SelfSupervision,
        stages: int,
        num_parts: int,
        num_limbs: int,
        width: int = 128,
        initial_std: float | None = 0.01,
    ) -> None:
        super().__init__()
        heatmaps, fields = num_parts + 1, 2 * num_limbs
        to_heatmap = direction in (SelfSupervision.paf_to_heatmap, SelfSupervision.both)
        to_paf = direction in (SelfSupervision.heatmap_to_paf, SelfSupervision.both)
        self.to_heatmap = nn.ModuleList(_converter(fields, heatmaps, width) for _ in range(stages * to_heatmap))
        self.to_paf = nn.ModuleList(_converter(heatmaps, fields, width) for _ in range(stages * to_paf))
        initialise(self, initial_std)

    def forward(self, output: Output) -> Generated:
        """Predictions of the S stages -> what each generates of the other; gradients reach the predictions."""
        heatmaps = pafs = None
        if self.to_heatmap:
            fields = output.pafs.flatten(2, 3)
            heatmaps = torch.stack([convert(field) for convert, field in zip(self.to_heatmap, fields, strict=True)])
        if self.to_paf:
            made = [convert(maps) for convert, maps in zip(self.to_paf, output.heatmaps, strict=True)]
            pafs = torch.stack(made).unflatten(2, output.pafs.shape[2:4])
        return Generated(heatmaps, pafs)


def _converter(inputs: int, outputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, outputs, 1),
    )
