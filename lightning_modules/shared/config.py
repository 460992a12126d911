"""Configuration shared by the papers: backbone and optimizer. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, List, Optional


@dataclass
class BackboneConfig:
    name: str = "resnet50"
    """A timm model with ``features_only`` support."""
    weights: Optional[str] = "imagenet"
    """``imagenet`` (timm's pretrained weights), null (random), or a file with a state dict."""
    frozen_stages: int = 1
    """0 trains everything; n freezes the stem and the first n stages, batch statistics included."""
    lr_factor: float = 1.0
    """Learning rate of the backbone as a fraction of the heads'."""
    freeze_batch_norm: bool = False
    """Keep all batch statistics of the backbone at their pretrained values."""


class OptimizerName(Enum):
    sgd = "sgd"
    adam = "adam"
    adamw = "adamw"


class ScheduleUnit(Enum):
    epoch = "epoch"
    step = "step"


class Schedule(Enum):
    multistep = "multistep"
    cosine = "cosine"
    constant = "constant"


class LrScaling(Enum):
    """Factor on the rate where a step has f times ``reference_batch`` samples."""

    none = "none"
    linear = "linear"
    """f (Goyal et al., 2017)."""
    sqrt = "sqrt"
    """The square root of f."""


@dataclass
class OptimizerConfig:
    name: OptimizerName = OptimizerName.sgd
    lr: float = 0.01
    """At ``reference_batch`` samples per step over all devices; see ``scale_lr``."""
    reference_batch: int = 16
    """The paper's batch: samples of an optimizer step on any number of devices, unless ``trainer.accumulate`` is given.
    """
    # choice: the papers' rates belong to their batches; nothing is scaled unless the rule is named
    scale_lr: LrScaling = LrScaling.none
    """How the rate follows a step of another size. Warm-up, and a schedule in steps, keep their number of samples."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    eps: float = 1e-8
    """Adam's and AdamW's ε. Gradients far below it do not move their weights, whatever the rate."""
    schedule: Schedule = Schedule.multistep
    unit: ScheduleUnit = ScheduleUnit.epoch
    milestones: List[float] = field(default_factory=list)
    """Multistep: where the rate is multiplied by ``gamma``, in ``unit``s."""
    gamma: float = 0.1
    warmup_steps: int = 0
    """Of ``reference_batch`` samples."""
    warmup_factor: float = 0.001
    """Linear warm-up from this fraction of the rate."""
    clip_norm: Optional[float] = None
    """L2 norm of all gradients together; null is off."""


def as_plain(config: Any) -> Any:
    """A configuration as dicts, lists, strings and numbers, enums by name: what a ``weights_only`` checkpoint holds."""
    if is_dataclass(config):
        return {item.name: as_plain(getattr(config, item.name)) for item in fields(config)}
    if isinstance(config, Enum):
        return config.name
    if isinstance(config, (list, tuple)):
        return [as_plain(item) for item in config]
    return config
