"""The papers of the suite: key -> configuration and LightningModule. Nothing is imported before it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Paper(NamedTuple):
    title: str
    config: str
    """``module:Config`` dataclass; imports no torch."""
    module: str
    """``module:LightningModule`` class, constructed as ``(config, optimizer, skeleton)``."""


PAPERS: dict[str, Paper] = {
    "inspose": Paper(
        title="InsPose: Instance-Aware Networks for Single-Stage Multi-Person Pose Estimation",
        config="lightning_modules.inspose.config:Config",
        module="lightning_modules.inspose.module:InsPose",
    ),
    "openpose_ssal": Paper(
        title="Self-Supervision and Spatial-Sequential Attention Based Loss for Multi-Person Pose Estimation",
        config="lightning_modules.openpose_ssal.config:Config",
        module="lightning_modules.openpose_ssal.module:OpenPoseSsal",
    ),
}


def load(reference: str) -> Any:
    """Import the object behind ``package.module:name``."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
