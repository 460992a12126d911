"""A trained SSN whose feature shifting modules are looked into, and the crops it is looked into with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, labelled_inside
from datamodules.skeleton import Skeleton
from experiments.analyses.samples import Shown, output_folder, shown_samples
from experiments.checkpoint import Trained, load_trained
from experiments.config import ConfigError
from lightning_modules.ssn.feature_shift import FeatureShiftModule
from lightning_modules.ssn.network import feature_shift_modules

STUDIED_CROPS = 32
"""Crops that scores are averaged over and channels chosen by; the paper does not say how many it takes."""
CROPS_AT_ONCE = 8
PAIRS = (("left_knee", "left_elbow"), ("left_shoulder", "right_shoulder"))
"""The points of Fig. 7, one pair a non-local map."""


class Study(NamedTuple):
    """What is looked into."""

    trained: Trained
    modules: list[FeatureShiftModule]
    fsm: int
    """Number of the module of Figs. 5c, 6 and 7."""
    pairs: tuple[tuple[str, str], ...]
    shown: list[Shown]
    out: Path

    @property
    def module(self) -> FeatureShiftModule:
        return self.modules[self.fsm - 1]

    @property
    def network(self) -> torch.nn.Module:
        return self.trained.module.get_submodule("network")

    @property
    def crops(self) -> Tensor:
        """f32 [N, 3, H, W], normalised."""
        return torch.cat([sample.batch.images for sample in self.shown])


def prepare(options: argparse.Namespace, run: str) -> Study:
    """What is looked into of the checkpoint ``run``.

    Raises:
        ConfigError: no run of this paper, one without inserted modules, no such module, or nobody to show.
    """
    trained = load_trained(Path(run), options.overrides, paper="ssn")
    modules = feature_shift_modules(trained.module)
    if not modules:
        raise ConfigError(f"{trained.file}: model.feature_shift.enabled is false, so there is nothing to look into")
    if not modules[0].is_inserted:
        step = trained.config.model.feature_shift.insert_step
        key = f"model.feature_shift.insert_step={step}"
        raise ConfigError(f"{trained.file}: saved before its feature shifting modules joined ({key})")
    if not 1 <= options.fsm <= len(modules):
        raise ConfigError(f"--fsm {options.fsm}: this network has modules 1 to {len(modules)}")
    pairs = point_pairs(trained.skeleton)
    sought = sorted({joint for pair in pairs for joint in pair})
    wanted = [trained.skeleton.joints.index(joint) for joint in sought]

    def is_shown(batch: PoseBatch) -> bool:
        return bool(labelled_inside(batch)[0, 0, wanted].all())

    shown = shown_samples(
        trained, max(STUDIED_CROPS, options.images), is_shown, f"a person with {', '.join(sought)} labelled"
    )
    return Study(trained, modules, options.fsm, pairs, shown, output_folder(options, trained))


def point_pairs(skeleton: Skeleton) -> tuple[tuple[str, str], ...]:
    """The paper's pairs of joints where the skeleton has them, else the ends of its first two limbs."""
    has_all = all(joint in skeleton.joints for pair in PAIRS for joint in pair)
    return PAIRS if has_all else skeleton.limbs[:2]
