"""Measures what a run will cost: some batches of training, some images of evaluation, one checkpoint.

    python -m experiments.ablation.probe --paper PAPER [--preset NAME] [key=value …]

Takes what experiments.run takes and prints one JSON object: ``start_seconds``, ``seconds_per_batch``, ``batches``,
``evaluations``, ``images``, ``seconds_per_image``, ``checkpoint_bytes``, ``picture_bytes``.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.config import RunConfig, WandbMode, compose

BATCHES = 8
IMAGES = 32
_STARTED = time.monotonic()


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    from experiments.run import parser

    options = parser().parse_intermixed_args(arguments)
    try:
        config = compose(options.paper, options.preset, options.overrides)
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(config, Path(folder))))
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def measure(config: RunConfig, folder: Path) -> dict[str, float]:
    """Train ``BATCHES`` batches, evaluate about ``IMAGES`` samples, all inside ``folder``.

    Raises:
        ValueError: as a run of this configuration would.
    """
    from experiments.quiet import quieten

    quieten()
    import pytorch_lightning as pl

    from experiments.training.run_directory import open_run_directory
    from experiments.training.session import Session

    class Clock(pl.Callback):
        def __init__(self) -> None:
            self.batch_ends: list[float] = []

        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
            self.batch_ends.append(time.monotonic())
            if len(self.batch_ends) >= BATCHES:
                trainer.should_stop = True
                trainer.limit_val_batches = 0

    config = dataclasses.replace(
        config,
        name="probe",
        wandb=dataclasses.replace(config.wandb, mode=WandbMode.disabled),
        output=dataclasses.replace(config.output, root=str(folder)),
    )
    directory, _ = open_run_directory(config, resume=False)
    session = Session(config, directory, is_first=True, say=lambda line: None)
    trainer: Any = session.trainer  # Lightning declares its callbacks nowhere
    clock = Clock()
    trainer.limit_val_batches = -(-IMAGES // config.data.val_batch_size)
    trainer.callbacks.append(clock)
    began = time.monotonic()
    session.fit(resume=False)
    session.callbacks.checkpoints.save_last(trainer)
    gaps = [end - start for start, end in zip(clock.batch_ends, clock.batch_ends[1:], strict=False)]
    per_epoch = len(trainer.train_dataloader)
    if config.trainer.limit_train_batches is not None:
        per_epoch = min(per_epoch, config.trainer.limit_train_batches)
    batches = config.trainer.max_epochs * per_epoch
    if trainer.max_steps >= 0:
        batches = min(batches, trainer.max_steps * session.plan.accumulate)
    if not config.trainer.keep_optimizer:
        session.callbacks.checkpoints.keep_weights()  # as a run does at its end
    trainer.limit_val_batches = -(-IMAGES // config.data.val_batch_size)
    evaluating = time.monotonic()
    trainer.validate(session.module, datamodule=session.data, verbose=False)
    seconds = time.monotonic() - evaluating
    dataset: Any = session.data.val_dataloader().dataset
    samples = len(dataset)
    evaluated = min(samples, trainer.limit_val_batches * config.data.val_batch_size)
    pictures = [file.stat().st_size for file in (directory.path / "pictures").glob("*.jpg")]
    return {
        "start_seconds": began - _STARTED + (clock.batch_ends[0] - began),
        "seconds_per_batch": statistics.median(gaps) if gaps else clock.batch_ends[0] - began,
        "batches": batches,
        "evaluations": -(-batches // max(per_epoch * config.trainer.val_every_epochs, 1)) + 1,
        "images": samples,
        "seconds_per_image": seconds / max(evaluated, 1),
        "checkpoint_bytes": max((file.stat().st_size for file in directory.path.glob("*.ckpt")), default=0),
        "picture_bytes": max(pictures, default=0),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
