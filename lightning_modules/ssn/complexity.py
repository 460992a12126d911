"""What of SSN can be counted without training: every row of Tables 1 and 3."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from datamodules.skeleton import Skeleton
from lightning_modules.shared.backbones import unweighted
from lightning_modules.shared.counting import Countable, CountedRow
from lightning_modules.ssn.config import Architecture, Config, CorrelationAttention, EarlyPredictor
from lightning_modules.ssn.feature_shift import FeatureShiftModule
from lightning_modules.ssn.network import Network, feature_shift_modules

CROP = (256, 192)


def rows(config: Config, skeleton: Skeleton) -> list[CountedRow]:
    """The nine rows of Table 1, and SSN at Table 3's larger input."""
    none = EarlyPredictor.none
    light = partial(_changed, config, architecture=Architecture.three_block, early_predictors=none)
    sigmoid = CorrelationAttention.sigmoid
    variants = {
        "Backbone": _changed(config, early_predictors=none, enabled=False),
        "Backbone, w/ ESP": _changed(config, enabled=False),
        "SSN, w/o CA": _changed(config, correlation_attention=CorrelationAttention.none),
        "SSN, w/o shifting": _changed(config, shifting=False),
        "SSN, w/o ESP": _changed(config, early_predictors=none),
        "SSN, K = 256": _changed(config, channels=256, first_channels=128),
        "SSN": _changed(config),
        "3Block + 3FSM, K = 256": light(channels=256, correlation_attention=sigmoid),
        "3Block + 3FSM, K = 512": light(channels=512, correlation_attention=sigmoid),
    }
    found = [_row(name, variant, skeleton, CROP) for name, variant in variants.items()]
    return [*found, _row("SSN, 384x288", variants["SSN"], skeleton, (384, 288))]


def elementwise_macs(network: nn.Module, images: Tensor) -> int:
    """Of the shifting modules: four for each value interpolated, one for each that attention gates."""
    total = 0

    def count(module: Any, inputs: tuple[Tensor, ...], shifted: Tensor) -> None:
        nonlocal total
        total += shifted.numel()

    modules: list[FeatureShiftModule] = feature_shift_modules(network)
    per_value = 0
    handles = [module.reduce.register_forward_hook(count) for module in modules]
    for module in modules[:1]:
        per_value = 4 * (not isinstance(module.shift, nn.Identity)) + (module.attention is not None)
    network(images)
    for handle in handles:
        handle.remove()
    return total * per_value


def _changed(
    config: Config,
    *,
    architecture: Architecture = Architecture.ssn,
    early_predictors: EarlyPredictor = EarlyPredictor.bottleneck,
    **shift: Any,
) -> Config:
    return replace(
        config,
        architecture=architecture,
        early_predictors=early_predictors,
        backbone=unweighted(config.backbone),
        feature_shift=replace(config.feature_shift, insert_step=0, **shift),
    )


def _row(name: str, config: Config, skeleton: Skeleton, hw: tuple[int, int]) -> CountedRow:
    def build() -> Countable:
        network = Network(config, skeleton.num_keypoints).eval()
        images = torch.empty(1, 3, *hw)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return Countable(parameters, lambda: network(images), elementwise_macs(network, images))

    note = "with the FSMs' elementwise work" if config.feature_shift.enabled else ""
    return CountedRow(name, build, f"{hw[0]} x {hw[1]}", note)
