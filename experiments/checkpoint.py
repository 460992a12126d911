"""A trained checkpoint back into its paper's module. It carries paper, configuration and skeleton itself."""

from __future__ import annotations

import dataclasses
import pickle
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from datamodules.skeleton import Skeleton, skeleton_from
from experiments.config import ConfigError, RunConfig, restore
from lightning_modules.papers import PAPERS, load


class CheckpointError(ConfigError):
    """A file that is no usable checkpoint of this suite; one line that names it."""


class Trained(NamedTuple):
    """What a checkpoint holds, ready to be asked."""

    config: RunConfig
    """Of the run, overrides applied; the names of pretrained weights are None, so that nothing is downloaded."""
    module: pl.LightningModule
    """On the CPU, in eval mode, its weights loaded."""
    skeleton: Skeleton
    """The keypoints it was trained on, whatever file they once came from."""
    file: Path


def load_trained(source: Path, overrides: Sequence[str] = (), *, paper: str | None = None) -> Trained:
    """The module of a run or checkpoint.

    Args:
        source: the folder of a run (its ``best.ckpt`` is taken), or a ``.ckpt`` file.
        overrides: ``key=value``, applied to the run's configuration: other data, another test of the same weights.
        paper: refuse checkpoints of other papers than this.

    Raises:
        CheckpointError: no such file, a damaged one, one that holds code, one that is not of this suite or not of
            ``paper``, or weights that do not fit the overridden model.
        ConfigError: an override names an unknown key or a value that makes no sense.
    """
    file = checkpoint_file(source)
    content = read_checkpoint(file)
    stored = content["run"]
    if stored["paper"] not in PAPERS:
        raise CheckpointError(f"{file}: of paper {stored['paper']!r}, which this version does not have")
    if paper is not None and stored["paper"] != paper:
        raise CheckpointError(f"{file}: a run of paper {stored['paper']}, not of {paper}")
    config: RunConfig = without_pretrained(restore(stored["config"], str(file), overrides))
    skeleton = skeleton_from(content["hyper_parameters"]["skeleton"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*frozen stages keep random weights.*")  # they are loaded below
        module: pl.LightningModule = load(PAPERS[config.paper].module)(config.model, config.optimizer, skeleton)
    try:
        module.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        changed = [override for override in overrides if override.startswith("model.")]
        asked = " ".join(changed) or f"this version of {config.paper}"
        raise CheckpointError(f"{file}: its weights do not fit {asked}: {reason}") from error
    return Trained(config, module.eval(), skeleton, file)


def checkpoint_file(source: Path) -> Path:
    """``source``, or the best checkpoint of the run whose folder it is.

    Raises:
        CheckpointError: there is none.
    """
    file = source / "best.ckpt" if source.is_dir() else source
    if not file.is_file():
        raise CheckpointError(f"{source}: {_hint(source)}")
    return file


def _hint(source: Path) -> str:
    if not source.is_dir():
        return "no such file"
    last = source / "last.ckpt"
    return (
        f"no best.ckpt, the run is not evaluated yet; give {last}" if last.is_file() else "no run: it has no best.ckpt"
    )


def read_checkpoint(file: Path) -> dict[str, Any]:
    """The plain data of a checkpoint of this suite: ``run``, ``hyper_parameters``, ``state_dict`` and more.

    Raises:
        CheckpointError: it cannot be read, holds code, or is something else.
    """
    if (damage := checkpoint_damage(file)) is not None:
        raise CheckpointError(f"{file} is damaged or no checkpoint ({damage})")
    content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    run = content.get("run") if isinstance(content, dict) else None
    is_ours = isinstance(run, dict) and {"paper", "config"} <= run.keys() and "state_dict" in content
    if not is_ours or "skeleton" not in content.get("hyper_parameters", {}):
        raise CheckpointError(f"{file}: not a checkpoint that python -m experiments.run wrote")
    return dict(content)


def checkpoint_damage(file: Path) -> str | None:
    """What is wrong with a checkpoint file; None if it can be read and every value in it is as it was written.

    Raises:
        CheckpointError: it holds code, which is never run.
    """
    try:
        torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error):
            raise CheckpointError(f"{file} holds more than plain data and is refused") from error
        return "not a checkpoint"
    except Exception as error:  # a damaged pickle may raise anything
        message = str(error)
        if "mmap can only be used" in message:
            return "not in the format of torch.save"
        return (message.split(". ")[0].splitlines() or [type(error).__name__])[0]
    return _failed_checksum(file)


def _failed_checksum(file: Path) -> str | None:
    """Which of the checksums that torch.save writes does not fit; torch.load looks at none of them."""
    try:
        with zipfile.ZipFile(file) as archive:
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                return "not in the format of torch.save"
            member = archive.testzip()
    except Exception as error:  # as above
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None if member is None else f"the checksum of {member} does not fit"


def without_pretrained(config: Any) -> Any:
    """``config`` with every ``weights`` that names some set to None, in its sections too."""
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            changes[item.name] = without_pretrained(value)
        elif item.name == "weights":
            changes[item.name] = None
    return dataclasses.replace(config, **changes)
