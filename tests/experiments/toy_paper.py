"""A paper that learns in a second: it is told the truth and learns how far its answer lies off.

As a program it is ``experiments.run`` with this paper added: ``python toy_paper.py --paper toy …``.
Environment: ``TOY_<EVENT>_AT`` is a batch, counted over the run, at which rank ``TOY_RANK`` (else 0) has a NaN loss
(``NAN``; several batches with commas), sends itself a signal (``SIGNAL``: SIGINT, or the one of ``TOY_SIGNAL``), waits
for ever (``HANG``), kills its process (``DEATH``) or its DataLoader workers (``WORKER_DEATH``), lets every photograph
of the folder ``TOY_DISK`` block its reader (``BLOCK``), or fills that folder's disk (``FULL``). ``TOY_SECONDS`` is what
a step takes at least; with ``TOY_NOISE`` the loss is random; ``TOY_RECIPES`` is the folder its recipe is written to.
With ``TOY_STALL=START:BATCH:FILE`` a run whose ``model.start`` is START waits at BATCH to be killed, the first time
only: FILE then exists.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from experiments import config as config_module
from experiments import run
from lightning_modules import papers
from lightning_modules.shared.config import OptimizerConfig, as_plain


@dataclass
class DecodeConfig:
    shift: float = 0.0
    """Pixels added to every answer of a test."""


@dataclass
class Config:
    start: float = 12.0
    """Pixels by which the first answer is off."""
    decode: DecodeConfig = field(default_factory=DecodeConfig)


class Toy(pl.LightningModule):
    def __init__(self, config: Config, optimizer: OptimizerConfig, skeleton: Skeleton) -> None:
        super().__init__()
        self.save_hyperparameters({"config": asdict(config), "skeleton": as_plain(skeleton)}, logger=False)
        self.config, self.optimizer = config, optimizer
        self.network = nn.Linear(1, 2)
        nn.init.constant_(self.network.bias, config.start)
        nn.init.zeros_(self.network.weight)
        self.seen: list[list[int]] = []

    def training_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        self.seen.append(batch.meta.sample_id.tolist())
        if self._is_time("SIGNAL"):
            os.kill(os.getpid(), getattr(signal, os.environ.get("TOY_SIGNAL", "SIGINT")))
        if self._is_time("HANG"):
            threading.Event().wait()
        self._stall()
        if self._is_time("DEATH"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._is_time("WORKER_DEATH"):
            for worker in multiprocessing.active_children():
                os.kill(worker.pid or 0, signal.SIGKILL)
        if self._is_time("BLOCK"):
            for photograph in Path(os.environ["TOY_DISK"]).glob("*.png"):
                photograph.unlink()
                os.mkfifo(photograph)  # whoever opens it waits for ever
        if self._is_time("FULL"):
            fill(Path(os.environ["TOY_DISK"]) / "filler")
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        # An input of each sample's own: the loss of a union of batches is the mean of their losses.
        draws = [torch.rand(1, generator=torch.Generator().manual_seed(sample)) for sample in self.seen[-1]]
        loss = self.network(torch.stack(draws).to(self.device)).pow(2).mean()
        if "TOY_NOISE" in os.environ:  # as dropout: numbers of torch's own generator, more on some ranks than on others
            loss = loss * (1 + 0.1 * torch.rand(sum(self.seen[-1]) % 7 + 1)[-1])
        if self._is_time("NAN"):
            loss = loss * float("nan")
        self.log("train/offset", loss.detach(), batch_size=len(batch.images), sync_dist=True)
        return loss

    def _is_time(self, event: str) -> bool:
        batch = str(self.trainer.fit_loop.epoch_loop.total_batch_idx)
        is_asked = self.global_rank == int(os.environ.get("TOY_RANK", "0"))
        return is_asked and batch in os.environ.get(f"TOY_{event}_AT", "").split(",")

    def _stall(self) -> None:
        start, batch, file = os.environ.get("TOY_STALL", "0:-1:").split(":")
        is_asked = self.config.start == float(start) and self.trainer.fit_loop.epoch_loop.total_batch_idx == int(batch)
        if is_asked and not Path(file).exists():
            Path(file).touch()
            threading.Event().wait()

    def validation_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        persons = batch.persons
        ones = torch.ones_like(persons.keypoints[..., :1])
        affine = batch.meta.to_original[:, None, None]
        points = persons.keypoints + self.network(ones[..., :1]) * (1 + 0.1 * persons.areas.sqrt()[..., None, None] / 9)
        original = (affine[..., :2] @ points[..., None])[..., 0] + affine[..., 2] + self.config.decode.shift
        return Predictions(
            keypoints=torch.cat([original, ones], -1),
            scores=1 / (1 + persons.areas),
            is_valid=persons.is_real,
            sample_id=batch.meta.sample_id,
            image_id=batch.meta.image_id,
        )

    def configure_optimizers(self) -> Any:
        _ = self.trainer.estimated_stepping_batches  # as the papers do; workers start here
        return torch.optim.SGD(self.parameters(), self.optimizer.lr, momentum=self.optimizer.momentum)


def fill(file: Path) -> None:
    """Write until the disk has no room."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


RECIPE = """
optimizer: {lr: 0.2, momentum: 0.0, reference_batch: 4}
data: {size: 64, max_size: 96, train_size: [64, 64], batch_size: 2, num_workers: 0}
trainer: {accelerator: cpu, max_epochs: 3, log_every_steps: 1}
wandb: {mode: disabled}
presets:
  brief:
    about: one epoch
    trainer: {max_epochs: 1}
"""


def register(recipes: Path) -> None:
    """Add the paper ``toy``; its recipe is written into the folder ``recipes``."""
    if not (recipes / "toy.yaml").exists():  # the other rank may be reading it
        (recipes / "toy.yaml").write_text(RECIPE)
    config_module.CONFIGS = recipes
    papers.PAPERS["toy"] = papers.Paper("A toy", "toy_paper:Config", "toy_paper:Toy")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    register(Path(os.environ["TOY_RECIPES"]))
    sys.exit(run.main())
