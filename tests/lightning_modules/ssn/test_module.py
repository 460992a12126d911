from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch.utils.data import DataLoader

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.skeleton import COCO
from experiments.tables.loader import load_tables
from lightning_modules.shared.config import OptimizerConfig, OptimizerName
from lightning_modules.ssn.config import Config
from lightning_modules.ssn.module import SpatialShortcutNetwork
from tests.experiments.tables.rows import model_of

TABLES = load_tables("ssn")
ROWS = {f"{number}: {row.name}": model_of(row) for number, table in TABLES.items() for row in table.ours}
SMALL = {
    "backbone": {"name": "resnet26", "weights": None},
    "width": 32,
    "feature_shift": {"channels": 4, "first_channels": 2, "insert_step": 0},
}
"""The smallest trunk with Bottleneck blocks."""
LIGHT = {
    "architecture": "three_block",
    "early_predictors": "none",
    "feature_shift": {"channels": 4, "insert_step": 0, "correlation_attention": "sigmoid"},
}


def make(switches: dict[str, Any], **changes: Any) -> SpatialShortcutNetwork:
    config = OmegaConf.merge(OmegaConf.structured(Config), switches, changes)
    torch.manual_seed(0)
    optimizer = OptimizerConfig(name=OptimizerName.adam, lr=1e-3, weight_decay=1e-4)
    return SpatialShortcutNetwork(OmegaConf.to_object(config), optimizer, COCO)


def crops(count: int = 2) -> PoseBatch:
    torch.manual_seed(1)
    return PoseBatch(
        images=torch.randn(count, 3, 64, 64),
        persons=Persons(
            keypoints=torch.rand(count, 1, 17, 2) * 60 + 2,
            visibility=torch.full((count, 1, 17), 2, dtype=torch.uint8),
            boxes=torch.tensor([8.0, 8.0, 56.0, 56.0]).expand(count, 1, 4),
            areas=torch.full((count, 1), 2000.0),
            is_real=torch.ones(count, 1, dtype=torch.bool),
        ),
        ignore=torch.zeros(count, 16, 16, dtype=torch.bool),
        instance_masks=None,
        meta=Meta(
            sample_id=torch.arange(count),
            image_id=torch.arange(count),
            original_hw=torch.tensor([[64, 64]] * count),
            input_hw=torch.tensor([[64, 64]] * count),
            to_original=torch.eye(2, 3).expand(count, 2, 3),
            detection_score=torch.ones(count),
        ),
    )


def small_row(row: str) -> dict[str, Any]:
    """A row of a table on the small trunk, with its channels an eighth of a percent of the paper's."""
    switches = OmegaConf.to_container(OmegaConf.merge(SMALL, ROWS[row]))
    shift = switches["feature_shift"]
    shift["channels"] = max(2, shift["channels"] // 128) if shift["channels"] > 4 else shift["channels"]
    shift["first_channels"] = 1 if shift["first_channels"] > 2 else shift["first_channels"]
    return switches


@pytest.mark.parametrize("row", [row for row in ROWS if row[0] == "1" or row.startswith("3: SSN, 384")])
@pytest.mark.parametrize("people", [True, False])
@pytest.mark.fault(8, "SSN: nobody labelled", "zero loss; touches every parameter")
def test_no_row_leaves_a_parameter_without_gradient(row, people):
    module, batch = make(small_row(row)), crops()
    batch.persons.is_real[:] = people
    loss = module.training_step(batch, 0)
    loss.backward()
    assert (loss > 0) == people
    assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("table", ["1", "2"])
def test_rows_of_a_table_differ(table):
    built = {}
    for row in (row for row in ROWS if row.startswith(table)):
        with torch.device("meta"):
            network = make(small_row(row)).network
        size = sum(parameter.numel() for parameter in network.parameters())
        built[row] = (size, network.predictors[network.evaluated])
    assert len(set(built.values())) == len(built), built


@torch.no_grad()
def test_the_mirror_image_gives_the_mirrored_person():
    module, batch = make(LIGHT).eval(), crops()
    found, there = module.predict(batch), module.predict(batch._replace(images=batch.images.flip(-1)))
    mirrored = there.keypoints[:, :, list(COCO.flip_permutation)]
    torch.testing.assert_close(found.keypoints[..., 2], mirrored[..., 2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.keypoints[..., 0], 64 - mirrored[..., 0], atol=1e-3, rtol=0)
    plain = make(LIGHT, decode={"flip_test": False}).eval().predict(batch)
    assert not torch.equal(plain.keypoints, found.keypoints)


def test_a_crop_without_anybody_predicts_nobody():
    batch = crops()
    batch.persons.is_real[1] = False
    with torch.no_grad():
        assert make(LIGHT).eval().predict(batch).is_valid.tolist() == [[True], [False]]


def test_steps_lower_the_loss_and_the_checkpoint_is_plain(tmp_path):
    module, batch = make(LIGHT), crops()
    before = module.eval().training_step(batch, 0).item()
    loader: DataLoader = DataLoader([batch], batch_size=None)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=15,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader, loader)
    assert trainer.callback_metrics["train/loss"] < 0.9 * before
    names = [group.get("name") for group in trainer.optimizers[0].param_groups]
    assert names == [None, "offsets"]
    offsets = trainer.optimizers[0].param_groups[1]
    assert [parameter.shape for parameter in offsets["params"]] == [(4, 2)] * 3
    assert offsets["weight_decay"] == 0
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert loaded["hyper_parameters"]["paper"] == "ssn"
    assert loaded["hyper_parameters"]["config"]["feature_shift"]["correlation_attention"] == "sigmoid"


def test_without_modules_there_is_no_group_of_offsets(tmp_path):
    module = make(LIGHT, feature_shift={"enabled": False})
    trainer = pl.Trainer(accelerator="cpu", fast_dev_run=True, logger=False, enable_progress_bar=False)
    trainer.fit(module, DataLoader([crops()], batch_size=None))
    assert len(trainer.optimizers[0].param_groups) == 1
