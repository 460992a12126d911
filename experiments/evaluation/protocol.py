"""The name of what was measured (figures are compared only under the same name), and protocols by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from datamodules.config import View
from experiments.config import RunConfig
from experiments.merging import ConfigError, did_you_mean

FULL_SPLITS = {"val2017": 5000, "train2017": 118_287, "test-dev2017": 20_288}
"""COCO's own splits and how many images they have; a folder with fewer is something else."""


class NamedProtocol(NamedTuple):
    about: str
    overrides: tuple[str, ...]
    """``key=value`` on the configuration of the run."""
    split: str | None = None
    """Of ``FULL_SPLITS``, which must be evaluated whole."""


_ALL_IMAGES = ("data.limit_val=null", "data.val_image_ids=null")
PROTOCOLS = {
    "rendered": NamedProtocol("the run's rendered people", ("data.root=null", "data.detections.file=null")),
    "mini": NamedProtocol("all images of data.val_split in a small folder, data.root", _ALL_IMAGES),
    "val2017-gt": NamedProtocol(
        "val2017, people in ground-truth boxes (where a paper takes boxes)",
        ("data.val_split=val2017", "data.detections.file=null", *_ALL_IMAGES),
        "val2017",
    ),
    "val2017-det": NamedProtocol(
        "val2017, people in a detector's boxes: data.detections.file",
        ("data.val_split=val2017", *_ALL_IMAGES),
        "val2017",
    ),
    "test-dev": NamedProtocol(
        "test-dev2017: writes the archive for COCO's evaluation server",
        ("data.val_split=test-dev2017", *_ALL_IMAGES),
        "test-dev2017",
    ),
}
"""What ``experiments.evaluate --protocol`` knows; none of them is the run's own validation."""


class Conditions(NamedTuple):
    """What of a test decides with which figures it may be compared."""

    split: str
    """One of ``FULL_SPLITS`` if all of it was evaluated, else a name that no paper has."""
    boxes: str
    """``none`` where people are found in whole images, ``gt`` or ``det``."""
    flip: bool
    scales: str
    """``single`` or ``multi``."""


def conditions(config: RunConfig, num_images: int) -> Conditions:
    """What ``config`` says of a test on ``num_images``."""
    data, decode = config.data, getattr(config.model, "decode", None)
    scales: Any = getattr(config.model, "scales", None) or getattr(decode, "scales", None) or []
    boxes = "none" if data.view is not View.person else "gt" if data.detections.file is None else "det"
    if data.root is None:
        split = f"rendered-val-{num_images}-images"
    elif FULL_SPLITS.get(data.val_split) == num_images:
        split = data.val_split
    else:
        split = f"{Path(data.root).resolve().name}-{data.val_split}-{num_images}-images"
    flip = bool(getattr(config.model, "flip_test", False) or getattr(decode, "flip_test", False))
    return Conditions(split, boxes, flip, "multi" if len(scales) > 1 else "single")


def protocol_name(config: RunConfig, num_images: int) -> str:
    """For instance ``val2017-single-scale``, ``coco_mini-val2017-120-images-single-scale-flip-gt-boxes``.

    People found in given boxes are never named without saying whose boxes they were: ground truth or a detector's.

    Args:
        num_images: how many were evaluated.
    """
    test = conditions(config, num_images)
    parts = [test.split, f"{test.scales}-scale", *(["flip"] if test.flip else [])]
    return "-".join(parts + ([] if test.boxes == "none" else [f"{test.boxes}-boxes"]))


def find_protocol(name: str) -> NamedProtocol:
    """Raises:
    ConfigError: there is none of that name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}{did_you_mean(name, list(PROTOCOLS))} (it is {', '.join(PROTOCOLS)})")
    return PROTOCOLS[name]


def check_protocol(name: str, config: RunConfig) -> None:
    """Raises:
    ConfigError: the configuration lacks, or contradicts, what the protocol of that name needs.
    """
    data, split = config.data, find_protocol(name).split
    takes_boxes = data.view is View.person
    if name == "rendered":
        if data.rendered is None:
            raise ConfigError("protocol rendered: the run has no rendered people; set data.rendered.val_images=200")
        if data.root is not None:
            raise ConfigError("protocol rendered: takes no data.root")
        return
    if data.root is None:
        raise ConfigError(f"protocol {name}: set data.root=FOLDER, in COCO's layout")
    if split is not None and data.val_split != split:
        raise ConfigError(f"protocol {name}: is of {split}, not of data.val_split={data.val_split}")
    if name == "val2017-gt" and data.detections.file is not None:
        raise ConfigError("protocol val2017-gt: takes ground-truth boxes; data.detections.file is for val2017-det")
    if name == "val2017-det" and not takes_boxes:
        raise ConfigError(f"protocol val2017-det: {config.paper} takes no boxes; use --protocol val2017-gt")
    if name in ("val2017-det", "test-dev") and takes_boxes and data.detections.file is None:
        raise ConfigError(f"protocol {name}: set data.detections.file=FILE, a person detector's boxes of {split}")


def check_images(name: str, num_images: int, root: str | None) -> None:
    """Raises:
    ConfigError: the protocol of that name is of a whole split of COCO, and these are other images.
    """
    split = find_protocol(name).split
    if split is not None and num_images != FULL_SPLITS[split]:
        raise ConfigError(
            f"protocol {name}: {split} has {FULL_SPLITS[split]} images, {root} has {num_images} of them; "
            "use --protocol mini"
        )
