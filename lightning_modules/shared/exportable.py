"""What of a paper leaves Python as a graph."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Exportable(NamedTuple):
    """A module that ``torch.export`` can follow."""

    module: nn.Module
    """Normalised images f32 [B, 3, H, W] -> a tuple of tensors, float32."""
    outputs: dict[str, str]
    """Name -> shape, unit and frame of each of the tuple, in its order."""
    about: str
    """What is inside and what is left to the caller."""
    multiple: int
    """H and W are multiples of it."""
    least: int = 2
    """H and W are at least this many times ``multiple``."""


class HeatmapAlone(nn.Module):
    """Of a network whose output has ``heatmap_s4`` f32 [B, K, H/4, W/4], that."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.network(images).heatmap_s4.float(),)
