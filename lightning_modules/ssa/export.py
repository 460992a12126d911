"""SSA as a graph: the network, candidates and their attention. Grouping is a search on the host and stays there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.shared.exportable import Exportable
from lightning_modules.ssa.attention import attention_rows
from lightning_modules.ssa.config import Association
from lightning_modules.ssa.network import HEATMAP_STRIDE
from lightning_modules.ssa.peaks import find_peaks
from lightning_modules.ssa.targets import token_cells


def exportables(module: Any) -> list[Exportable]:
    """The fullest first."""
    count = module.config.decode.max_candidates
    candidates = {
        "points": f"[B, K, {count}, 2]: x, y in pixels of the input; 0 where there is no further candidate",
        "scores": f"[B, K, {count}]: likewise",
        "cells": f"i64 [B, K, {count}]: token under each point, row-major; likewise",
        "attention": f"[B, K · {count}, L]: row of each cell over the L tokens",
    }
    network = {"heatmap_s4": "[B, K, H/4, W/4]", "query": "[B, heads, L, d]", "key": "[B, heads, L, d]"}
    least = 2
    while (32 * least // HEATMAP_STRIDE) ** 2 < count:
        least += 1
    return [
        Exportable(Candidates(module), candidates, "network, candidates and attention; grouping is left", 32, least),
        Exportable(Network(module.network), network, "network alone; candidates and grouping are left", 32),
    ]


class Network(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images)
        return output.heatmap_s4.float(), output.supervised.query, output.supervised.key


class Candidates(nn.Module):
    def __init__(self, module: Any) -> None:
        super().__init__()
        self.network = module.network
        self.config = module.config.decode

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images)
        found = find_peaks(
            output.heatmap_s4,
            window=self.config.nms_window,
            threshold=self.config.candidate_threshold,
            max_candidates=self.config.max_candidates,
        )
        layers = output.layers if self.config.association is Association.naive else (output.supervised,)
        cells = token_cells(found.points, output.grid, (images.shape[2], images.shape[3]))
        is_found = found.scores > 0  # elsewhere the peaks are any: runtimes choose differently among equals
        points, cells = torch.where(is_found[..., None], found.points, 0.0), torch.where(is_found, cells, 0)
        return points, found.scores, cells, attention_rows(layers, cells.flatten(1))
