"""What a run starts from: the files of its data, and the checkpoint it continues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from datamodules.annotation_file import read_bytes
from datamodules.coco import CocoDataModule
from datamodules.config import View
from datamodules.selection import annotation_file
from experiments.checkpoint import checkpoint_damage, read_checkpoint
from experiments.config import ConfigError, RunConfig, restore
from experiments.training.run_directory import RunDirectory, refuse_other_settings


def checkpoint_to_resume(directory: RunDirectory, config: RunConfig, say: Callable[[str], None]) -> Path | None:
    """The newest sound checkpoint of the folder; None where there is none, and training starts anew.

    Args:
        say: is told which it is, and which are damaged.

    Raises:
        ConfigError: it is of another run than ``config``'s, or of none.
    """
    files = directory.checkpoints_to_resume()
    for file in files:
        if (damage := checkpoint_damage(file)) is None:
            content = read_checkpoint(file)
            refuse_other_settings(file, restore(content["run"]["config"], str(file)), config)
            if "optimizer_states" not in content:
                raise ConfigError(
                    f"{file}: holds the weights of a finished run and nothing to resume from; start another run "
                    "(trainer.keep_optimizer=true keeps what resuming needs)"
                )
            say(f"resuming from {file.name}")
            return file
        say(f"{file.name} is damaged ({damage})")
    if files:
        say("no checkpoint is sound: starting anew")
    return None


def refuse_missing_files(data: CocoDataModule) -> None:
    """Told at once, not after pretrained weights were fetched.

    Raises:
        ValueError: there are neither data nor any to stand in for them, or an annotation or detection file is missing.
    """
    config, root = data.config, data.root
    if config.root is not None:
        for file in (annotation_file(root, split) for split in (config.train_split, config.val_split)):
            if not file.is_file():
                read_bytes(file)  # says why not
    if config.view is View.person and config.detections.file and not Path(config.detections.file).is_file():
        raise ConfigError(f"{config.detections.file}: no such file; correct data.detections.file")
