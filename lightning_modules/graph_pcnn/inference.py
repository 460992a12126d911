"""Testing (§3.4): one guided point per keypoint off the flip-averaged heatmap, refined in the image and its mirror."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from datamodules.skeleton import Skeleton
from lightning_modules.graph_pcnn.config import Config, Decoding, Refinement
from lightning_modules.graph_pcnn.criterion import offset_unit
from lightning_modules.graph_pcnn.decode import Pose, mirror_offsets, mirror_points
from lightning_modules.graph_pcnn.network import Network
from lightning_modules.shared.peaks import average_flipped, dark_peaks, quarter_peaks


class PoseEstimator:
    """images -> poses of both stages."""

    def __init__(self, config: Config, skeleton: Skeleton) -> None:
        self.flip = config.flip_test
        self.decode_peaks = peak_decoder(config)
        self.has_second_stage = config.refinement is not Refinement.none
        self.reliable_heat = config.reliable_heat
        self.pixels_per_unit = offset_unit(config)
        self.flip_permutation = skeleton.flip_permutation

    @torch.no_grad()
    def __call__(self, network: Network, images: Tensor) -> Pose:
        """images f32 [B, 3, H, W], normalised -> poses in heatmap pixels."""
        permutation = torch.tensor(self.flip_permutation, device=images.device)
        output = network(images)
        heatmap = output.heatmap_s4.float()
        if self.flip:
            mirrored = network(images.flip(-1))
            heatmap = average_flipped(heatmap, mirrored.heatmap_s4.float(), permutation, shift=1)
        position, score = self.decode_peaks(heatmap)
        if not self.has_second_stage:
            return Pose(position, None, score)
        offset = self._refine(network, output.localization_s4, position, score)
        if self.flip:
            width = heatmap.shape[-1]
            there = mirror_points(position, width, permutation)
            inside = there[..., 0].clamp(max=width - 1)  # beyond the map there are no features
            asked = torch.stack([inside, there[..., 1]], dim=-1)
            answer = self._refine(network, mirrored.localization_s4, asked, score[:, permutation]) + asked - there
            offset = (offset + mirror_offsets(answer, permutation)) / 2  # choice: the paper flips heatmaps only
        return Pose(position, position + offset, score)  # Eq. 5

    def is_reliable(self, score: Tensor) -> Tensor:
        """R of Eq. 12 at test, bool [B, K], of stage 1's keypoint scores f32 [B, K]."""
        return score > self.reliable_heat

    def _refine(self, network: Network, localization_s4: Tensor, position: Tensor, score: Tensor) -> Tensor:
        """r in heatmap pixels, f32 [B, K, 2], of one guided point f32 [B, K, 2] a keypoint.

        The point's heat h is stage 1's score (§3.4), the response at the peak, not between the cells around the point:
        a quarter of a cell beside a peak of height 1 that is at most 0.84 at σ = 1, below ξ.
        """
        heat, reliable = score.clamp_min(0)[..., None], self.is_reliable(score)[..., None]
        refined = network.refine(localization_s4, position[:, :, None], heat, reliable)
        return refined.offset[:, :, 0] * self.pixels_per_unit


def peak_decoder(config: Config) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """heatmaps f32 [B, K, H', W'] -> points f32 [B, K, 2], heatmap pixels, and scores f32 [B, K]."""
    if config.decoding is Decoding.dark:
        return partial(dark_peaks, sigma=config.sigma, kernel=config.dark_kernel)
    return quarter_peaks
