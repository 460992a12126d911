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
    callbacks: tuple[str, ...] = ()
    """``module:Callback`` classes its training needs, constructed as ``(config,)``."""
    step_keys: tuple[str, ...] = ()
    """Keys of its configuration that count optimizer steps. Where a step has more or fewer samples than the recipe's,
    the callbacks get the steps of as many samples, as ``optimizer.milestones`` does."""
    rate_keys: tuple[str, ...] = ()
    """Keys of its configuration that are learning rates, scaled for the callbacks as ``optimizer.lr`` is."""


PAPERS: dict[str, Paper] = {
    "graph_pcnn": Paper(
        title="Graph-PCNN: Two Stage Human Pose Estimation with Graph Pose Refinement",
        config="lightning_modules.graph_pcnn.config:Config",
        module="lightning_modules.graph_pcnn.module:GraphPCNN",
    ),
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
    "ssa": Paper(
        title="Attend to Who You Are: Supervising Self-Attention for Keypoint Detection and Instance-Aware Association",
        config="lightning_modules.ssa.config:Config",
        module="lightning_modules.ssa.module:SSA",
    ),
    "ssa_refiner": Paper(
        title="TransPose-R-A4, the single-person network of SSA's refinement",
        config="lightning_modules.ssa.config:RefinerConfig",
        module="lightning_modules.ssa.refiner_module:SinglePerson",
    ),
    "ssn": Paper(
        title="Spatial Shortcut Network for Human Pose Estimation",
        config="lightning_modules.ssn.config:Config",
        module="lightning_modules.ssn.module:SpatialShortcutNetwork",
        callbacks=(
            "callbacks.delayed_fsm_insertion:DelayedFsmInsertion",
            "callbacks.offset_lr_decay:OffsetLrDecay",
        ),
        step_keys=("feature_shift.insert_step",),
        rate_keys=("feature_shift.offset_lr",),
    ),
}


def load(reference: str) -> Any:
    """Import the object behind ``package.module:name``."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
