"""ResNet, Transformer encoder, transposed convolutions: image -> heatmaps and the attention that groups them."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from lightning_modules.shared.backbones import Backbone
from lightning_modules.shared.vital_parts import Part, children_as_parts, numbered, part_by_name
from lightning_modules.ssa.attention import Encoder, IndependentAttention, QueryKey
from lightning_modules.ssa.config import Config, RefinerConfig, Supervision

HEATMAP_STRIDE = 4


class Output(NamedTuple):
    heatmap_s4: Tensor
    """[B, K, H/4, W/4]."""
    supervised: QueryKey
    """Of the supervised attention over the L = (H/r)(W/r) tokens, row-major."""
    layers: tuple[QueryKey, ...]
    """Of every encoder layer."""
    grid: tuple[int, int]
    """H/r and W/r."""


class HeatmapHead(nn.Module):
    """Transposed convolutions that double the resolution, then a 1×1 convolution; no activation at the end."""

    def __init__(self, width: int, doublings: int, num_keypoints: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for _ in range(doublings):
            deconvolution = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False)
            nn.init.normal_(deconvolution.weight, std=0.001)
            blocks += [deconvolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.deconvolutions = nn.Sequential(*blocks)
        self.final = nn.Conv2d(width, num_keypoints, 1)
        nn.init.normal_(self.final.weight, std=0.001)
        nn.init.constant_(self.final.bias, 0.0)  # type: ignore[arg-type]  # None only where bias=False

    def forward(self, features: Tensor) -> Tensor:
        return self.final(self.deconvolutions(features))


class Network(nn.Module):
    """The bottom-up network (Section 2.2, Fig. 2).

    Args:
        config: the paper's switches.
        num_keypoints: K.

    Raises:
        ValueError: a stride other than 8 or 16, or a supervised layer that does not exist.
    """

    def __init__(self, config: Config, num_keypoints: int) -> None:
        super().__init__()
        if config.stride not in (8, 16):
            raise ValueError(f"model.stride: {config.stride} is not possible; use 8 or 16")
        if not 1 <= config.supervised_layer <= config.layers:
            raise ValueError(
                f"model.supervised_layer: {config.supervised_layer} is not one of the {config.layers} layers (from 1)"
            )
        self.stride = config.stride
        self.supervised_index = config.supervised_layer - 1
        self.backbone = Backbone(config.backbone, (config.stride,), dilated_to=config.stride)
        self.reduce = nn.Conv2d(self.backbone.channels[0], config.width, 1, bias=False)
        self.encoder = Encoder(config.layers, config.width, config.feedforward, config.heads, config.dropout)
        independent = config.supervision is Supervision.independent
        self.independent = IndependentAttention(config.width, config.heads) if independent else None
        self.head = HeatmapHead(config.width, int(math.log2(config.stride // HEATMAP_STRIDE)), num_keypoints)

    def forward(self, images: Tensor) -> Output:
        """Normalised images [B, 3, H, W]; H and W are multiples of the stride."""
        features = self.reduce(self.backbone(images)[0])
        height, width = features.shape[2:]
        encoded = self.encoder(features)
        if self.independent is None:
            supervised = encoded.layers[self.supervised_index]
        else:
            supervised = self.independent(encoded.inputs[self.supervised_index], encoded.position)
        heatmaps = self.head(encoded.tokens.transpose(1, 2).unflatten(2, (height, width)))
        return Output(heatmaps, supervised, encoded.layers, (height, width))


class Refiner(nn.Module):
    """TransPose-R-A4: person crop [B, 3, H, W] -> heatmaps [B, K, H/4, W/4].

    Its position embedding is computed; the published count of 6.0M holds the 196,608 values stored for 256×192.
    """

    def __init__(self, config: RefinerConfig, num_keypoints: int) -> None:
        super().__init__()
        self.backbone = Backbone(config.backbone, (8,))
        self.reduce = nn.Conv2d(self.backbone.channels[0], config.width, 1, bias=False)
        self.encoder = Encoder(config.layers, config.width, config.feedforward, config.heads, config.dropout)
        self.head = HeatmapHead(config.width, 1, num_keypoints)

    def forward(self, crops: Tensor) -> Tensor:
        features = self.reduce(self.backbone(crops)[0])
        encoded = self.encoder(features)
        return self.head(encoded.tokens.transpose(1, 2).unflatten(2, features.shape[2:]))


def network_parts(network: Network | Refiner) -> dict[str, Part]:
    """The parts of ``callbacks.vitals``: the children, the encoder's layers one by one."""
    parts = children_as_parts(network)
    del parts["encoder"]
    return parts | part_by_name(numbered("attention", network.encoder.layers))
