from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from callbacks.delayed_fsm_insertion import DelayedFsmInsertion
from lightning_modules.ssn.config import Architecture, Config, CorrelationAttention, EarlyPredictor, FeatureShiftConfig
from lightning_modules.ssn.network import Network, feature_shift_modules

STEP = 5
LEARNING_RATE = 3e-5
"""A step of it lowers the loss by 3%: what changes more than that is the insertion."""


def small_config(attention: CorrelationAttention = CorrelationAttention.sigmoid) -> Config:
    shift = FeatureShiftConfig(channels=8, correlation_attention=attention, insert_step=STEP)
    return Config(architecture=Architecture.three_block, feature_shift=shift, early_predictors=EarlyPredictor.none)


class SmallSsn(pl.LightningModule):
    """Learns to shrink noise; one batch an epoch, the same every time."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = Network(config, 3)
        self.losses: list[float] = []

    def training_step(self, batch, batch_idx):
        images, target = batch
        loss = (self.network(images).heatmap_s4 - target).square().mean()
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)

    def train_dataloader(self):
        images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        return DataLoader(TensorDataset(images, F.avg_pool2d(images, 4)), batch_size=8 // self.trainer.world_size)


def trainer(folder: Path, epochs: int, **options) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        **{
            "accelerator": "cpu",
            "callbacks": [DelayedFsmInsertion(small_config())],
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        | options,
    )


def trained(folder: Path, epochs: int, resume: Path | None = None) -> tuple[SmallSsn, pl.Trainer]:
    module, run = SmallSsn(small_config()), trainer(folder, epochs)
    run.fit(module, ckpt_path=resume, weights_only=True)
    return module, run


@pytest.mark.parametrize("attention", CorrelationAttention)
def test_the_loss_does_not_jump(tmp_path, attention):
    module = SmallSsn(small_config(attention))
    trainer(tmp_path, 9).fit(module)
    assert all(shift.is_inserted for shift in feature_shift_modules(module.network))
    before, after = module.losses[STEP - 1 : STEP + 1]
    assert abs(after - before) < 0.05 * before
    assert module.losses[-1] < after
    moved = [shift.expand.weight.abs().sum() for shift in feature_shift_modules(module.network)]
    assert min(moved) > 0


def test_nothing_moves_before_and_adam_starts_anew_after(tmp_path):
    start = SmallSsn(small_config())
    waiting, _ = trained(tmp_path, STEP)
    shift, initial = feature_shift_modules(waiting.network)[0], feature_shift_modules(start.network)[0]
    assert not shift.is_inserted
    for name, parameter in shift.named_parameters():
        assert torch.equal(parameter, dict(initial.named_parameters())[name])
    module, run = trained(tmp_path, STEP + 1)
    optimizer = run.optimizers[0]
    shift = feature_shift_modules(module.network)[0]
    assert {int(optimizer.state[parameter]["step"]) for parameter in shift.parameters()} == {1}
    assert int(optimizer.state[next(module.network.parameters())]["step"]) == STEP + 1
    # Adam's first step is the learning rate wherever there is a gradient; with the old state it would be 3.16 of it.
    assert shift.expand.weight.abs().max().item() == pytest.approx(LEARNING_RATE, rel=0.01)


def test_resumes_bit_equal_from_either_side_of_the_step(tmp_path):
    whole, _ = trained(tmp_path, STEP + 3)
    for stop in (STEP - 1, STEP, STEP + 1):
        _, run = trained(tmp_path, stop)
        checkpoint = tmp_path / f"{stop}.ckpt"
        run.save_checkpoint(checkpoint)
        resumed, _ = trained(tmp_path, STEP + 3, checkpoint)
        expected = whole.state_dict()
        assert resumed.state_dict().keys() == expected.keys()
        for name, value in resumed.state_dict().items():
            assert torch.equal(value, expected[name]), f"{name} after a stop at {stop}"


class EventLogger(pl.loggers.logger.DummyLogger):
    def __init__(self):
        super().__init__()
        self.events = []

    def log_metrics(self, metrics, step=None):
        if "fsm_inserted" in metrics:
            self.events.append((metrics["fsm_inserted"], step))


def test_is_logged_once(tmp_path):
    logger = EventLogger()
    trainer(tmp_path, STEP + 3, logger=logger).fit(SmallSsn(small_config()))
    assert logger.events == [(3.0, STEP - 1)]


class SameOnBothRanks(pl.Callback):
    """Fails the run unless all parameters of the two processes are equal after every step."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        flat = torch.cat([parameter.detach().flatten() for parameter in pl_module.parameters()])
        both = [torch.empty_like(flat) for _ in range(2)]
        dist.all_gather(both, flat)
        assert torch.equal(*both), f"the ranks differ after step {trainer.global_step}"
        statistics = pl_module.network.body[4].norm.running_mean.clone()
        both = [torch.empty_like(statistics) for _ in range(2)]
        dist.all_gather(both, statistics)
        assert not torch.equal(*both), "each rank sees its own batch: else this test shows nothing"

    def on_train_end(self, trainer, pl_module):
        assert trainer.global_step == STEP + 3
        assert all(shift.is_inserted for shift in feature_shift_modules(pl_module.network))
        before, after = pl_module.losses[STEP - 1 : STEP + 1]
        assert abs(after - before) < 0.05 * before
        (Path(trainer.default_root_dir) / f"rank{trainer.global_rank}").touch()


def test_two_processes_go_through_the_step_together(tmp_path):
    callbacks = [DelayedFsmInsertion(small_config()), SameOnBothRanks()]
    run = trainer(tmp_path, STEP + 3, callbacks=callbacks, strategy="ddp_fork", devices=2)
    run.fit(SmallSsn(small_config()))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rank0", "rank1"]


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision_goes_through_the_step(tmp_path, precision):
    module = SmallSsn(small_config())
    trainer(tmp_path, STEP + 3, precision=precision).fit(module)
    before, after = module.losses[STEP - 1 : STEP + 1]
    assert abs(after - before) < 0.05 * before
    assert module.losses[-1] < after
