"""InsPose as a graph: its heads. How many candidates pass the threshold decides the shapes of decoding."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lightning_modules.inspose.locations import STRIDES
from lightning_modules.shared.exportable import Exportable


def exportables(module: Any) -> list[Exportable]:
    """The network alone."""
    network = module.network
    outputs = {
        "scores": "[B, L], person or not, in [0, 1]; L cells of P3 to P7, one level after the other, row-major",
        "parameters": "[B, C_f, L], KP-Net parameters",
        "kp_features_s8": "[B, C, H/8, W/8], F_kp",
    }
    if network.disk_head is not None:
        outputs["disk_offsets_s8"] = "[B, 2K, H/8, W/8], x and y per keypoint, from a cell's corner, in cells"
    if network.box_head is not None:
        outputs["box_distances"] = "[B, 4, L], left, top, right, bottom from the location, input pixels"
    about = "network alone; KP-Nets and suppression are left, their shapes depend on what passes the threshold"
    least = STRIDES[-1] // 32 + 1  # P7 has more than one cell: a single one would be taken for a constant
    return [Exportable(Heads(network), outputs, about, 32, least)]


class Heads(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images)
        parts = (output.class_logits.float().sigmoid(), output.parameters, output.kp_features_s8)
        return (*parts, *(part for part in (output.disk_offsets_s8, output.box_distances) if part is not None))
