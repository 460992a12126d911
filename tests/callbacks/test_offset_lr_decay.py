import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from callbacks.offset_lr_decay import OffsetLrDecay
from lightning_modules.ssn.config import Config


class TwoRates(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.offsets = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
        self.rates: list[tuple[float, float]] = []

    def training_step(self, batch, batch_idx):
        return (self.weight * self.offsets * batch).sum()

    def on_before_optimizer_step(self, optimizer):
        self.rates.append(tuple(group["lr"] for group in optimizer.param_groups))

    def configure_optimizers(self):
        groups = [{"params": [self.weight]}, {"params": [self.offsets], "name": "offsets", "lr": 7.0}]
        optimizer = torch.optim.Adam(groups, lr=5e-4)
        halving = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": halving, "interval": "step"}}

    def train_dataloader(self):
        return DataLoader(torch.ones(2, 1))


def train(folder, epochs, resume=None):
    module = TwoRates()
    run = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[OffsetLrDecay(Config())],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    run.fit(module, ckpt_path=resume, weights_only=True)
    return module, run


def test_rates_by_epoch_whatever_the_schedule_does_and_after_a_resume(tmp_path):
    whole, run = train(tmp_path, 4)
    main = [5e-4 * 0.5**step for step in range(8)]
    offsets = [1e-3, 1e-3, 9e-4, 9e-4, 8.1e-4, 8.1e-4, 7.29e-4, 7.29e-4]
    assert [rate for pair in whole.rates for rate in pair] == pytest.approx(
        [rate for pair in zip(main, offsets, strict=True) for rate in pair]
    )
    assert run.callback_metrics["lr/offsets"].item() == pytest.approx(7.29e-4)
    _, half = train(tmp_path, 2)
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = train(tmp_path, 4, tmp_path / "half.ckpt")
    assert resumed.rates == whole.rates[4:]
    assert torch.equal(resumed.offsets, whole.offsets)
