"""Ground truth of a batch of person crops as heatmaps and heatmap coordinates; ``decode.py`` is the way back.

Frame: as in both bases a joint at input coordinate x stands on heatmap index x / 4, not x / 4 - 0.5. Mirroring an image
therefore maps index u to W' - u, which is why the bases shift the flipped heatmap by one cell before they average.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.contracts import Persons
from lightning_modules.graph_pcnn.config import GaussianCenter
from lightning_modules.graph_pcnn.trunks import STRIDE
from lightning_modules.shared.gaussians import reaches_map


class Targets(NamedTuple):
    heatmap_s4: Tensor
    """f32 [B, K, H / 4, W / 4] in [0, 1]."""
    position: Tensor
    """f32 [B, K, 2], t, heatmap pixels; 0 where not labelled."""
    weight: Tensor
    """f32 [B, K], γ of Eq. 10: 1 where labelled, visible or not, and within 3σ of the map, else 0."""


@torch.no_grad()
def encode_targets(persons: Persons, map_hw: tuple[int, int], sigma: float, center: GaussianCenter) -> Targets:
    """Encode the first (of a crop, the only) person of each sample.

    Of a keypoint outside the map, the part of its Gaussian inside is drawn.

    Args:
        persons: of a batch; a sample without a real person has weight 0 everywhere.
        map_hw: height and width of the heatmap.
        sigma: standard deviation, heatmap pixels; the Gaussian ends at 3σ along each axis.
        center: where the Gaussian stands.
    """
    position = persons.keypoints[:, 0].float() / STRIDE
    # Towards zero, as the bases' int(): it matters left of the map and above it.
    mean = (position + 0.5).trunc() if center is GaussianCenter.rounded else position
    labelled = (persons.visibility[:, 0] > 0) & persons.is_real[:, :1] & reaches_map(mean, sigma, map_hw)
    height, width = map_hw
    column = _gaussian(mean[..., 1], height, sigma)
    row = _gaussian(mean[..., 0], width, sigma)
    heatmap = column[..., :, None] * row[..., None, :] * labelled[..., None, None]
    return Targets(heatmap, position * labelled[..., None], labelled.float())


def _gaussian(mean: Tensor, length: int, sigma: float) -> Tensor:
    """f32 [B, K] -> f32 [B, K, length], 1 at the mean, 0 beyond 3σ."""
    distance = torch.arange(length, device=mean.device) - mean[..., None]
    return torch.exp(-distance.square() / (2 * sigma**2)) * (distance.abs() <= 3 * sigma)
