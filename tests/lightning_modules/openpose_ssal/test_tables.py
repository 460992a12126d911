from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from datamodules.skeleton import COCO
from experiments.config import compose
from lightning_modules.openpose_ssal.module import OpenPoseSsal
from lightning_modules.shared.config import OptimizerConfig
from tests.lightning_modules.openpose_ssal.scenes import random_batch

FILE = Path(__file__).parents[3] / "experiments/tables/openpose_ssal.yaml"
TABLES = yaml.safe_load(FILE.read_text())["tables"]
ROWS = [(number, row["row"]) for number, table in TABLES.items() for row in table["rows"] if "set" in row]


def row_of(number, name):
    return next(row for row in TABLES[number]["rows"] if row["row"] == name)


def module_of(number, name) -> OpenPoseSsal:
    overrides = [f"model.{key}={value}" for key, value in row_of(number, name)["set"].items()]
    config = compose("openpose_ssal", overrides=overrides).model
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
    baseline = TABLES[number]["baseline"]
    if row_of(number, name)["set"] != row_of(number, baseline)["set"]:
        assert loss.item() != module_of(number, baseline).training_step(batch, 0).item()


@pytest.mark.parametrize("number", TABLES)
def test_cells_are_of_the_tables_columns_and_rows_are_told_apart(number):
    table = TABLES[number]
    names = [row["row"] for row in table["rows"]]
    assert len(set(names)) == len(names)
    assert table["baseline"] in names
    assert all(set(row["published"]) <= set(table["columns"]) for row in table["rows"])


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
