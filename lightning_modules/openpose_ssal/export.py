"""The CMU network as a graph: its last stage. How many peaks and people there are decides the shapes of decoding."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from lightning_modules.shared.exportable import Exportable


def exportables(module: Any) -> list[Exportable]:
    """The network alone."""
    outputs = {"heatmaps": "[B, parts + 1, h, w], background last", "pafs": "[B, limbs, 2, h, w], x and y"}
    if module.config.block_offsets:
        outputs["offsets"] = "[B, parts, 2, h, w], x and y in cells from the cell's centre"
    about = "network alone (last stage); peaks, matching and assembly are left, their shapes depend on what is found"
    return [Exportable(LastStage(module.network), outputs, about, max(32, module.config.network.downsampling))]


class LastStage(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images)
        last = (output.heatmaps[-1].float(), output.pafs[-1].float())
        return last if output.offsets is None else (*last, output.offsets[-1].float())
