"""The name of what was measured: figures are compared only under the same name."""

from __future__ import annotations

from pathlib import Path

from datamodules.config import View
from experiments.config import RunConfig

FULL_SPLITS = {"val2017": 5000, "train2017": 118_287}
"""COCO's own splits and how many images they have; a folder with fewer is something else."""


def protocol_name(config: RunConfig, num_images: int) -> str:
    """For instance ``val2017-single-scale``, ``coco_mini-val2017-120-images-single-scale-flip-gt-boxes``.

    People found in given boxes are never named without saying whose boxes they were: ground truth or a detector's.

    Args:
        num_images: how many were evaluated.
    """
    data = config.data
    scales = getattr(config.model, "scales", None) or []
    test = ["multi-scale" if len(scales) > 1 else "single-scale"]
    if getattr(config.model, "flip_test", False) or getattr(getattr(config.model, "decode", None), "flip_test", False):
        test.append("flip")
    if data.view is View.person:
        test.append("gt-boxes" if data.detections.file is None else "det-boxes")
    if data.root is None:
        return "-".join(["rendered-val", f"{num_images}-images", *test])
    if FULL_SPLITS.get(data.val_split) == num_images:
        return "-".join([data.val_split, *test])
    return "-".join([Path(data.root).resolve().name, data.val_split, f"{num_images}-images", *test])
