"""Ground truth of a batch of person crops as heatmaps; ``decode.py`` is the way back.

Frame: heatmap index u stands for the input coordinate 4 (u + 0.5), the centre of the four pixels under a cell. A mirror
image's heatmap is then the mirrored heatmap, without the shift by a cell that SimpleBaseline's x / 4 needs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.contracts import Persons
from lightning_modules.shared.gaussians import bell, reaches_map

STRIDE = 4


class Targets(NamedTuple):
    heatmap_s4: Tensor
    """f32 [B, K, H/4, W/4] in [0, 1]; zero where the keypoint is not labelled."""
    weight: Tensor
    """f32 [B, K]: 1 where labelled, visible or not, and within 3σ of the map, else 0."""


@torch.no_grad()
def encode_targets(persons: Persons, map_hw: tuple[int, int], sigma: float) -> Targets:
    """Gaussians around the first (of a crop, the only) person's keypoints.

    They stand on the keypoint itself, between cells. # choice: as in DARK; a rounded centre would cost up to half a
    cell that no decoding could win back. Of a keypoint outside the map, the part inside is drawn.

    Args:
        persons: of a batch; a sample without a real person has weight 0 everywhere.
        map_hw: height and width of the heatmaps.
        sigma: standard deviation, cells.
    """
    center = to_cells(persons.keypoints[:, 0].float())
    is_labelled = (persons.visibility[:, 0] > 0) & persons.is_real[:, :1] & reaches_map(center, sigma, map_hw)
    cells = (torch.arange(length, device=center.device) for length in reversed(map_hw))
    across, down = (bell(each - center[..., axis, None], sigma) for axis, each in enumerate(cells))
    down *= is_labelled[..., None]  # on the profiles, a pass over the maps less
    return Targets(down[..., :, None] * across[..., None, :], is_labelled.float())


def to_cells(points: Tensor) -> Tensor:
    """Input pixels -> heatmap indices."""
    return points / STRIDE - 0.5


def to_pixels(points: Tensor) -> Tensor:
    """Heatmap indices -> input pixels."""
    return (points + 0.5) * STRIDE
