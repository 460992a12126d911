import dataclasses

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from datamodules.skeleton import COCO
from lightning_modules.openpose_ssal.config import (
    Config,
    DecodeConfig,
    KlForm,
    NetworkConfig,
    PafOverlap,
    PddSchedule,
    SelfSupervision,
)
from lightning_modules.openpose_ssal.module import OpenPoseSsal
from lightning_modules.shared.config import OptimizerConfig, OptimizerName, Schedule
from tests.lightning_modules.openpose_ssal.scenes import random_batch

SMALL = NetworkConfig(
    weights=None,
    backbone_width=0.0625,
    feature_channels=8,
    stage_width=8,
    stage_kernel=3,
    stages=3,
    initial_std=None,
)
OFF = {"self_supervision": SelfSupervision.none, "salm_alpha": 0, "pdd_schedule": PddSchedule.uniform}
SWITCHES = [
    {},
    {**OFF, "block_offsets": False},
    {**OFF, "self_supervision": SelfSupervision.both, "gamma": 0.0},
    {"self_supervision": SelfSupervision.heatmap_to_paf, "kl_form": KlForm.literal},
    {"pdd_schedule": PddSchedule.linear, "paf_overlap": PafOverlap.average, "delta": 3.0, "offset_weight": 0.5},
    {"network": dataclasses.replace(SMALL, downsampling=16)},
    {"network": dataclasses.replace(SMALL, stages=1)},
]


def module(**changes) -> OpenPoseSsal:
    torch.manual_seed(0)
    options = {"network": SMALL, "converter_width": 8, "decode": DecodeConfig(scales=[1.0], base_size=None)}
    optimizer = OptimizerConfig(name=OptimizerName.adam, lr=2e-3, weight_decay=0, schedule=Schedule.constant)
    return OpenPoseSsal(Config(**{**options, **changes}), optimizer, COCO)


@pytest.mark.parametrize("changes", SWITCHES, ids=str)
@pytest.mark.parametrize("people", [True, False])
def test_no_switch_leaves_a_parameter_without_gradient(changes, people):
    batch = random_batch(0)
    batch.persons.is_real[:] = people
    model = module(**changes)
    batch = batch._replace(images=torch.randn(batch.images.shape))
    model.training_step(batch, 0).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_loss_is_the_weighted_sum(monkeypatch):
    logged = {}
    model = module(gamma=4.0)
    monkeypatch.setattr(model, "log_dict", lambda values, **_: logged.update(values))
    monkeypatch.setattr(model, "log", lambda name, value, **_: logged.update({name: value}))
    loss = model.training_step(random_batch(1), 0)
    weights = {"heatmap": 0.8, "paf": 1.0, "offset": 1.0, "generated_heatmap": 0.2, "heatmap_kl": 0.2}
    assert logged["train/loss"].equal(loss.detach())
    expected = sum(weight * logged[f"train/{name}"].item() for name, weight in weights.items())
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"gamma": -1.0},
        {"gamma": 0.0, "self_supervision": SelfSupervision.paf_to_heatmap},
        {"gamma": 0.0, "self_supervision": SelfSupervision.heatmap_to_paf},
        {"network": dataclasses.replace(SMALL, downsampling=4)},
        {"network": dataclasses.replace(SMALL, stage_kernel=4)},
        {"network": dataclasses.replace(SMALL, weights="imagenet")},
        {"decode": DecodeConfig(scales=[])},
    ],
    ids=str,
)
def test_impossible_values_are_named(changes):
    with pytest.raises(ValueError, match=r"^model\.\S+=.*: must be "):
        module(**changes)


def test_steps_lower_the_loss_the_checkpoint_is_plain_and_predictions_come_in_photograph_pixels(tmp_path):
    model = module(rates_by_layer=False)
    batch = random_batch(2)
    batch = batch._replace(images=torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(0)))
    losses = []

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, *_):
            losses.append(outputs["loss"].item())

    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=25,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Keep()],
        default_root_dir=tmp_path,
    )
    loader = DataLoader([batch], batch_size=None)
    trainer.fit(model, loader)
    assert losses[-1] < 0.85 * losses[0]
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert loaded["hyper_parameters"]["paper"] == "openpose_ssal"
    assert loaded["hyper_parameters"]["config"]["pdd_schedule"] == "quadratic_b"
    assert not any("criterion" in key for key in loaded["state_dict"])
    again = module()
    again.load_state_dict(loaded["state_dict"])
    (found,) = trainer.predict(again, loader)
    assert found.keypoints.shape[2:] == (17, 3)
