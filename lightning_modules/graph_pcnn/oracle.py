"""The ceiling of the representation: true heatmaps through decoding, with and without refinement.

Refinement here is perfect regression: the true offset at the decoded peak, as Eq. 9 teaches it to every guided point
within 3σ. What is left is lost by the crop, by a peak farther than that, and by suppression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.graph_pcnn.config import Config, Decoding, GaussianCenter
from lightning_modules.graph_pcnn.decode import to_predictions
from lightning_modules.graph_pcnn.inference import peak_decoder
from lightning_modules.graph_pcnn.targets import encode_targets
from lightning_modules.graph_pcnn.trunks import STRIDE


def rows(config: Config, skeleton: Skeleton) -> dict[str, Callable[[PoseBatch], Predictions]]:
    """What ``experiments.oracle`` reports: both decodings of the base, and the configured one with refinement."""
    found: dict[str, Callable[[PoseBatch], Predictions]] = {}
    for center in GaussianCenter:
        for decoding in Decoding:
            base = replace(config, gaussian_center=center, decoding=decoding)
            found[f"stage 1, {center.value} Gaussian, {decoding.value}"] = partial(ceiling, config=base, refined=False)
    found["stage 2, true offsets at the decoded peak"] = partial(ceiling, config=config, refined=True)
    return found


@torch.no_grad()
def ceiling(batch: PoseBatch, config: Config, refined: bool) -> Predictions:
    """What decoding makes of crops if the first stage, and with ``refined`` the second, say what they are taught.

    A keypoint whose peak is 3σ or farther away is not refined: regression never learnt from there.
    """
    height, width = batch.images.shape[-2] // STRIDE, batch.images.shape[-1] // STRIDE
    targets = encode_targets(batch.persons, (height, width), config.sigma, config.gaussian_center)
    position, score = peak_decoder(config)(targets.heatmap_s4)
    if refined:
        offset = targets.position - position
        is_near = offset.norm(dim=-1) < config.positive_radius * config.sigma
        position = position + offset * (is_near & (targets.weight > 0))[..., None]
    return to_predictions(position, score, batch, config.keypoint_score_threshold)
