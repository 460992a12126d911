"""The line about batch normalisation that sees few samples."""

import pytest
import torch
from torch import nn

from experiments.schema import RunConfig, TrainerConfig
from experiments.training.batch_norm import describe_batch_norm
from experiments.training.batch_plan import plan_run
from lightning_modules.shared.config import OptimizerConfig

OWN = "batch normalisation over 2 samples, on each device its own (trainer.sync_batchnorm=false)"


def line(network: nn.Module, devices: int, *, batch: int = 2, sync: bool = False, reference: int = 16) -> str | None:
    config = RunConfig(trainer=TrainerConfig(sync_batchnorm=sync), optimizer=OptimizerConfig(reference_batch=reference))
    config.data.batch_size = batch
    return describe_batch_norm(network, plan_run(config, devices), config)


def test_few_samples_are_named_and_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert line(network, 8) == line(network, 1) == OWN
    assert line(network, 8, batch=16) == OWN
    shared = "batch normalisation over 16 samples, those of 8 devices (trainer.sync_batchnorm=true)"
    assert line(network, 8, batch=16, sync=True) == shared
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    needs = "batch normalisation over 2 samples, on each device its own (trainer.sync_batchnorm=true, which needs GPUs)"
    assert line(network, 8, sync=True) == needs


def test_no_line_where_there_is_nothing_to_say() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert line(network, 1, batch=16) is None
    assert line(network, 8, batch=16, reference=128) is None
    assert line(network, 1, batch=4, reference=4) is None
    assert line(nn.Conv2d(3, 4, 1), 8) is None
    assert line(network.eval(), 8) is None
