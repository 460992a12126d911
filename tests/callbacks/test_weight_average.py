"""The average against its recursion; that it is what is evaluated and kept; that frozen weights stay exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from callbacks.weight_average import average_weights

DECAY = 0.75


class Walk(pl.LightningModule):
    """Its weight goes up by one every step; it notes what it is evaluated with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.frozen = nn.Parameter(torch.tensor([0.1]), requires_grad=False)
        self.register_buffer("index", torch.tensor([5]))
        self.register_buffer("seen", torch.tensor([0.0]))
        self.evaluated: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen += 1
        return -self.weight.sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.evaluated.append(self.weight.item())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([self.weight], lr=1.0)


def fit(steps: int, checkpoint: Path | None = None) -> tuple[Walk, pl.Trainer]:
    module, data = Walk(), DataLoader(torch.zeros(2, 1))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=[average_weights(DECAY)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data, data, ckpt_path=checkpoint, weights_only=True)
    return module, trainer


def test_the_average_is_evaluated_kept_and_goes_on(tmp_path: Path) -> None:
    averages = [2.0]  # of the first step
    for step in range(2, 7):
        averages.append(DECAY * averages[-1] + (1 - DECAY) * (step + 1.0))
    module, trainer = fit(4)
    assert module.evaluated == [averages[1]] * 2 + [averages[3]] * 2
    assert module.weight.item() == averages[3]
    assert (module.frozen.item(), module.index.item(), module.seen.item()) == (torch.tensor(0.1).item(), 5, 4)

    file = tmp_path / "a.ckpt"
    trainer.save_checkpoint(file)
    state = torch.load(file, weights_only=True)
    assert state["state_dict"]["weight"].item() == averages[3]
    assert state["state_dict"]["index"].item() == 5
    state["current_model_state"]["weight"].fill_(5.0)  # training had ended: its own weight was replaced by the average
    torch.save(state, file)
    resumed, _ = fit(6, file)
    assert resumed.evaluated == [averages[5]] * 2
