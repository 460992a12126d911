"""Which layers learn how fast: the multipliers of the CMU pipeline."""

from __future__ import annotations

from typing import Any

from torch import nn

from lightning_modules.openpose_ssal.converters import Converters
from lightning_modules.openpose_ssal.network import Network

_EARLY, _LATER, _BIAS = 1.0, 4.0, 2.0


def parameter_groups(network: Network, converters: Converters, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Optimizer groups: VGG, the features and the first stage at ``lr``, later stages at 4 ``lr``; biases at twice
    their layer's rate and without decay. A converter learns as fast as the stage it belongs to.

    Groups without parameters are left out.
    """
    early: list[nn.Module] = [network.trunk, network.reduce]
    later: list[nn.Module] = []
    for stages in (network.paf_stages, network.heatmap_stages, converters.to_heatmap, converters.to_paf):
        early += list(stages[:1])
        later += list(stages[1:])
    groups = []
    for modules, factor in ((early, _EARLY), (later, _LATER)):
        named = [pair for module in modules for pair in module.named_parameters()]
        weights = [parameter for name, parameter in named if not name.endswith("bias")]
        biases = [parameter for name, parameter in named if name.endswith("bias")]
        groups.append({"params": weights, "lr": lr * factor, "weight_decay": weight_decay})
        groups.append({"params": biases, "lr": lr * factor * _BIAS, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]
