"""Graph-PCNN as a graph: both stages and decoding, from a crop to keypoints in the crop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.graph_pcnn.trunks import STRIDE
from lightning_modules.shared.exportable import Exportable, HeatmapAlone


def exportables(module: Any) -> list[Exportable]:
    """The fullest first."""
    keypoints = {"keypoints": "[B, K, 3]: x, y in pixels of the crop, score; of the last stage"}
    maps = {"heatmap_s4": "[B, K, H/4, W/4]"}
    flip = " with the mirror image" if module.config.flip_test else ""
    return [
        Exportable(Keypoints(module), keypoints, f"network{flip}, decoding and refinement", 32),
        Exportable(HeatmapAlone(module.network), maps, "first stage alone; decoding and refinement are left", 32),
    ]


class Keypoints(nn.Module):
    def __init__(self, module: Any) -> None:
        super().__init__()
        self.network = module.network
        self.estimate = module.estimate

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pose = self.estimate(self.network, images)
        position = pose.stage1 if pose.stage2 is None else pose.stage2
        return (torch.cat([position.float() * STRIDE, pose.score.float()[..., None]], dim=-1),)
