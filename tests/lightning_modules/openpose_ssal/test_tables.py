from dataclasses import replace

import pytest
import torch

from datamodules.skeleton import COCO
from experiments.config import compose
from experiments.tables.loader import load_tables
from experiments.tables.overrides import all_switches, row_overrides
from lightning_modules.openpose_ssal.module import OpenPoseSsal
from lightning_modules.shared.config import OptimizerConfig
from tests.lightning_modules.openpose_ssal.scenes import random_batch

TABLES = load_tables("openpose_ssal")
ROWS = [(number, row.name) for number, table in TABLES.items() for row in table.ours]


def module_of(number, name) -> OpenPoseSsal:
    table = TABLES[number]
    config = compose("openpose_ssal", overrides=row_overrides(table, table.find(name), None)).model
    small = replace(
        config.network,
        weights=None,
        backbone_width=0.0625,
        feature_channels=8,
        stage_width=8,
        stage_kernel=3,
        initial_std=None,
    )
    torch.manual_seed(0)
    return OpenPoseSsal(replace(config, network=small, converter_width=8), OptimizerConfig(), COCO)


@pytest.mark.parametrize(("number", "name"), ROWS)
def test_every_row_takes_a_step_with_all_its_parameters_and_is_no_baseline(number, name):
    batch = random_batch(0)
    batch = batch._replace(images=torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(0)))
    module = module_of(number, name)
    loss = module.training_step(batch, 0)
    loss.backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    for stage in (module.network.heatmap_stages[-1], module.network.paf_stages[-1]):
        assert stage[-1].bias.grad.any(), "what is decoded is not taught"
    table = TABLES[number]
    baseline = table.baseline
    if all_switches(table, table.find(name)) != all_switches(table, table.find(baseline)):
        assert loss.item() != module_of(number, baseline).training_step(batch, 0).item()


def test_the_recipe_is_the_papers():
    config = compose("openpose_ssal")
    optimizer, data = config.optimizer, config.data
    assert (optimizer.lr, optimizer.reference_batch, optimizer.momentum) == (2e-5, 10, 0.9)
    assert (optimizer.weight_decay, optimizer.milestones) == (5e-4, [170_000, 340_000, 510_000])
    assert optimizer.gamma == pytest.approx(1 / 3)
    assert config.trainer.max_steps == 600_000
    assert (data.crop_size, data.augmentation.scale, data.augmentation.rotation) == ([368, 368], [0.5, 1.1], 45)
    for value in (0, 255):
        assert (value / 255 - data.mean[0]) / data.std[0] == pytest.approx(value / 256 - 0.5)
    assert compose("openpose_ssal", "baseline").model.loss_weights == {"heatmap": 1, "paf": 1}
