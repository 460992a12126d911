"""The first ten convolutions of VGG-16 or VGG-19, the trunk of the CMU network."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import torch
from torch import Tensor, nn

from lightning_modules.openpose_ssal.config import Vgg

_BLOCKS = {
    Vgg.vgg16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512)),
    Vgg.vgg19: ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512)),
}
"""Channels of the convolutions between two pools."""
STRIDE = 8


def vgg_trunk(name: Vgg, width: float = 1.0) -> nn.Sequential:
    """Build conv1_1 to conv4_2 (VGG-19) or conv4_3 (VGG-16) with their ReLUs: images [B, 3, H, W] -> [B, C, H/8, W/8].

    Indices inside the sequence are torchvision's, so its ``features.*`` weights fit. ``width`` scales the channels
    (C is 512 at width 1).
    """
    layers: list[nn.Module] = []
    channels = 3
    for block in _BLOCKS[name]:
        if layers:
            layers.append(nn.MaxPool2d(2))
        for full in block:
            wide = _scaled(full, width)
            layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.ReLU(inplace=True)]
            channels = wide
    return nn.Sequential(*layers)


def trunk_channels(name: Vgg, width: float = 1.0) -> int:
    """Channels that ``vgg_trunk`` returns."""
    return _scaled(_BLOCKS[name][-1][-1], width)


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def load_vgg_weights(trunk: nn.Sequential, name: Vgg, weights: str) -> None:
    """Copy pretrained weights into ``trunk``: ``"imagenet"`` through timm, else a file with torchvision's state dict.

    Raises:
        ValueError: the weights cannot be had, or are another network's; the message says where a file may be put.
    """
    state = _imagenet_weights(name) if weights == "imagenet" else _file_weights(Path(weights))
    wanted = trunk.state_dict()
    prefix = "features." if any(key.startswith("features.") for key in state) else ""
    found = {key: state[prefix + key] for key in wanted if prefix + key in state}
    misfit = [key for key in wanted if key not in found or found[key].shape != wanted[key].shape]
    if misfit:
        raise ValueError(
            f"model.network.weights={weights}: {len(misfit)} of {len(wanted)} tensors of {name.value} are missing or "
            f"of another shape, first features.{misfit[0]}; use torchvision's {name.value} and backbone_width=1"
        )
    trunk.load_state_dict(found)


def _imagenet_weights(name: Vgg) -> Mapping[str, Tensor]:
    import timm

    try:
        return timm.create_model(f"{name.value}.tv_in1k", pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises a dozen kinds for one cause: no file and no network
        raise ValueError(
            f"model.network.weights=imagenet: {name.value}'s weights could not be fetched "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}); "
            f"download torchvision's {name.value} elsewhere and set model.network.weights to the file, "
            "or to null for random weights"
        ) from error


def _file_weights(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises KeyError, EOFError, UnpicklingError and RuntimeError for broken files
        raise ValueError(f"model.network.weights={path}: cannot be read as a state dict ({error})") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"model.network.weights={path}: holds a {type(state).__name__}, not a state dict")
    return state
