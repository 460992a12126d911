"""Against what Lightning really hands to its callbacks."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from callbacks.step_loss import step_loss


class Constant(pl.LightningModule):
    """Its losses are 8, 9, 10, …"""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.weight * 0 + 8.0 + batch_idx

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(float(step_loss(self.trainer, outputs)))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_loss_is_the_modules_own_however_many_batches_make_a_step(accumulate: int) -> None:
    module = Constant()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(torch.zeros(6, 1)))
    assert module.seen == [8.0, 9.0, 10.0, 11.0, 12.0, 13.0]
