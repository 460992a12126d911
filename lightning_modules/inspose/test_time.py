"""Inference on a batch: the views of it that are tested, and one suppression over all their candidates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.contracts import Meta, PoseBatch, Predictions
from lightning_modules.inspose.config import Config
from lightning_modules.inspose.decode import Candidates, decode_candidates, keep_best, propose
from lightning_modules.inspose.network import Network

PAD_MULTIPLE = 32


class View(NamedTuple):
    """One way of looking at a batch."""

    images: Tensor
    """f32 [B, 3, H, W], normalised."""
    meta: Meta
    """With the view's ``input_hw`` and the way from its pixels to the photographs'."""
    is_mirrored: bool


@torch.no_grad()
def predict(network: Network, batch: PoseBatch, config: Config, flip_permutation: tuple[int, ...]) -> Predictions:
    """People of a batch: at most ``max_detections`` per image, best first; Q is 0 where nobody passes the threshold.

    Args:
        network: in evaluation mode.
        batch: normalised images and their meta; people are not looked at.
        config: scales, mirror image, thresholds.
        flip_permutation: ``Skeleton.flip_permutation``.
    """
    parts = []
    for view in views(batch, config):
        image_hw = (view.images.shape[-2], view.images.shape[-1])
        proposals = propose(network(view.images), view.meta.input_hw, image_hw, config, network.kp_net)
        found = decode_candidates(proposals, view.meta, image_hw, config)
        if view.is_mirrored:
            found = found._replace(keypoints=found.keypoints[:, :, list(flip_permutation)])
        parts.append(found)
    merged = Candidates(*(torch.cat(values, dim=1) for values in zip(*parts, strict=True)))
    return keep_best(merged, batch.meta, config)


def views(batch: PoseBatch, config: Config) -> list[View]:
    """The batch at every scale, and each time its mirror image if asked for."""
    view = View(batch.images, batch.meta, is_mirrored=False)
    # choice: the paper lists no scales; they are resampled from the loaded size, so load at the largest
    found = [resized(view, scale) for scale in config.scales] or [view]
    return [other for view in found for other in ([view, mirrored(view)] if config.flip_test else [view])]


def resized(view: View, shorter_side: int) -> View:
    """The batch scaled by one factor: the largest shorter side in it becomes ``shorter_side`` pixels; padded."""
    height, width = view.images.shape[-2:]
    factor = shorter_side / int(view.meta.input_hw.amin(dim=1).max())
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if size == (height, width):
        return view
    images = F.interpolate(view.images, size=size, mode="bilinear", align_corners=False, antialias=True)
    exact = torch.tensor([size[0] / height, size[1] / width], device=images.device)
    input_hw = (view.meta.input_hw * exact).round().to(torch.int64).clamp(min=1)
    images = F.pad(images, (0, -size[1] % PAD_MULTIPLE, 0, -size[0] % PAD_MULTIPLE))
    columns = torch.cat([exact.flip(0), exact.new_ones(1)])
    meta = view.meta._replace(input_hw=input_hw, to_original=view.meta.to_original / columns)
    return view._replace(images=images, meta=meta)


def mirrored(view: View) -> View:
    """The mirror image of each image proper; padding stays right and below."""
    width = view.meta.input_hw[:, 1]
    place = torch.arange(view.images.shape[-1], device=width.device)
    source = torch.where(place < width[:, None], width[:, None] - 1 - place, place)
    images = view.images.gather(3, source[:, None, None].expand_as(view.images))
    to_original = view.meta.to_original.clone()
    to_original[..., 2] += to_original[..., 0] * width[:, None]
    to_original[..., 0] *= -1
    return View(images, view.meta._replace(to_original=to_original), is_mirrored=True)
