"""The CMU network: images -> part affinity fields, heatmaps and block-inside offsets of every stage (Fig. 5)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.openpose_ssal.config import NetworkConfig
from lightning_modules.openpose_ssal.vgg import STRIDE, load_vgg_weights, trunk_channels, vgg_trunk


class Output(NamedTuple):
    """Predictions of all S stages on the grid h = H / f_d, w = W / f_d. Regressed values, no logits."""

    heatmaps: Tensor
    """[S, B, parts + 1, h, w], background last."""
    pafs: Tensor
    """[S, B, limbs, 2, h, w], x and y."""
    offsets: Tensor | None
    """[S, B, parts, 2, h, w], x and y in cells from the cell's centre; None without block offsets."""


class Network(nn.Module):
    """VGG trunk, then stages of two branches; each stage reads the trunk's features and the stage before (Eqs. 9, 10).

    Args:
        config: widths, stages, downsampling and initialisation.
        num_parts: parts without background.
        num_limbs: limbs.
        block_offsets: the heatmap branch also gives two offsets per part, which the next stage reads.
    """

    def __init__(self, config: NetworkConfig, num_parts: int, num_limbs: int, block_offsets: bool) -> None:
        super().__init__()
        self.downsampling = config.downsampling
        self.num_parts, self.num_limbs, self.block_offsets = num_parts, num_limbs, block_offsets
        self.trunk = vgg_trunk(config.backbone, config.backbone_width)
        self.reduce = _reduction(config)
        paf_channels = 2 * num_limbs
        heatmap_channels = num_parts + 1 + (2 * num_parts if block_offsets else 0)
        inputs = config.feature_channels
        self.paf_stages, self.heatmap_stages = nn.ModuleList(), nn.ModuleList()
        for stage in range(config.stages):
            branch = _first_branch if stage == 0 else _later_branch
            self.paf_stages.append(branch(inputs, paf_channels, config))
            self.heatmap_stages.append(branch(inputs, heatmap_channels, config))
            inputs = config.feature_channels + paf_channels + heatmap_channels
        initialise(self.trunk, None)
        initialise(self.reduce, config.initial_std)
        initialise(self.paf_stages, config.initial_std)
        initialise(self.heatmap_stages, config.initial_std)
        if config.weights is not None:
            load_vgg_weights(self.trunk, config.backbone, config.weights)

    def forward(self, images: Tensor) -> Output:
        """Normalised images f32 [B, 3, H, W], H and W multiples of ``downsampling``, -> predictions of every stage."""
        features = self.reduce(self.trunk(images))
        fields: list[Tensor] = []
        maps: list[Tensor] = []
        inputs = features
        for paf_stage, heatmap_stage in zip(self.paf_stages, self.heatmap_stages, strict=True):
            fields.append(paf_stage(inputs))
            maps.append(heatmap_stage(inputs))
            inputs = torch.cat((features, fields[-1], maps[-1]), dim=1)  # Eq. 10
        pafs = torch.stack(fields).unflatten(2, (self.num_limbs, 2))
        both = torch.stack(maps)
        if not self.block_offsets:
            return Output(both, pafs, None)
        heatmaps, offsets = both.split((self.num_parts + 1, 2 * self.num_parts), dim=2)
        return Output(heatmaps, pafs, offsets.unflatten(2, (self.num_parts, 2)))


def _reduction(config: NetworkConfig) -> nn.Sequential:
    """Pools to ``downsampling``, then the two fine-tuning convolutions: 512 -> 256 -> 128 channels."""
    steps = math.log2(config.downsampling / STRIDE) if config.downsampling > 0 else -1.0
    if steps < 0 or not steps.is_integer():
        raise ValueError(f"model.network.downsampling={config.downsampling}: must be 8, 16, 32, …")
    # choice: the paper says only "downsample factor 16"; pooling after conv4_2 leaves the parameters as they are.
    pools = [nn.MaxPool2d(2) for _ in range(int(steps))]
    channels, wide = trunk_channels(config.backbone, config.backbone_width), 2 * config.feature_channels
    return nn.Sequential(*pools, *_convolution(channels, wide, 3), *_convolution(wide, config.feature_channels, 3))


def _first_branch(inputs: int, outputs: int, config: NetworkConfig) -> nn.Sequential:
    width = config.stage_width
    layers = [*_convolution(inputs, width, 3), *_convolution(width, width, 3), *_convolution(width, width, 3)]
    return nn.Sequential(*layers, *_convolution(width, 4 * width, 1), nn.Conv2d(4 * width, outputs, 1))


def _later_branch(inputs: int, outputs: int, config: NetworkConfig) -> nn.Sequential:
    width, kernel = config.stage_width, config.stage_kernel
    layers = _convolution(inputs, width, kernel)
    for _ in range(4):
        layers += _convolution(width, width, kernel)
    return nn.Sequential(*layers, *_convolution(width, width, 1), nn.Conv2d(width, outputs, 1))


def _convolution(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]


def initialise(module: nn.Module, std: float | None) -> None:
    """Draw every convolution's weights from N(0, std), or by Kaiming's rule where ``std`` is None; biases are zero.

    Under Kaiming's rule a convolution that no ReLU follows, the last of its sequence, gets N(0, 0.01): the first
    predictions then lie near zero, where most of a target lies.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if std is None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if std is None:
        for sequence in module.modules():
            if isinstance(sequence, nn.Sequential) and isinstance(sequence[-1], nn.Conv2d):
                nn.init.normal_(sequence[-1].weight, std=0.01)
