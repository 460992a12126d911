from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from lightning_modules.inspose.module import InsPose
from lightning_modules.inspose.targets import encode_targets
from lightning_modules.shared.config import OptimizerConfig

Make = Callable[..., Any]
SWITCHES: list[dict[str, Any]] = [
    {},
    {"disk_offset": False},
    {"heatmap": False},
    {"bbox_head": True},
    *({"kpnet_depth": depth} for depth in (1, 2, 4)),
    *({"map_stride": stride} for stride in (16, 4, 2)),
]


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
@pytest.mark.parametrize("changes", SWITCHES, ids=str)
@pytest.mark.parametrize("people", [True, False])
def test_no_switch_leaves_a_parameter_without_gradient(
    make_batch: Make, small_config: Make, changes: dict[str, Any], people: bool
) -> None:
    batch = make_batch(height=64, width=96)
    batch.persons.is_real[:] = people
    module = InsPose(small_config(**changes), OptimizerConfig(), COCO)
    module.training_step(batch, 0).backward()
    assert [name for name, p in module.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


def test_the_loss_is_the_weighted_sum(make_batch: Make, small_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, float] = {}
    config = small_config()
    config.loss_weights.keypoint, config.loss_weights.cls = 3.0, 0.5
    module = InsPose(config, OptimizerConfig(), COCO)
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: value}))
    loss = module.training_step(make_batch(height=64, width=96), 0)
    expected = 0.5 * logged["train/cls"] + 3 * logged["train/keypoint"]
    expected += logged["train/disk_offset"] + logged["train/heatmap"]
    torch.testing.assert_close(loss, torch.as_tensor(expected))
    torch.testing.assert_close(logged["train/loss"], loss.detach())


@torch.no_grad()
def total(module: InsPose, batch: PoseBatch) -> float:
    output = module.network.train()(batch.images)
    terms = module.criterion(output, encode_targets(batch, module.config), (64, 96))
    return sum(term.item() for term in terms.values())


def test_steps_lower_the_loss_and_the_checkpoint_is_plain(make_batch: Make, small_config: Make, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = InsPose(small_config(), OptimizerConfig(lr=0.01, warmup_steps=2, clip_norm=35), COCO)
    batch = make_batch(height=64, width=96)
    loader: DataLoader = DataLoader([batch], batch_size=None)
    before = total(module, batch)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=12,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=35,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader, loader)
    assert total(module, batch) < before - 0.3
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert loaded["hyper_parameters"]["paper"] == "inspose"
    assert loaded["hyper_parameters"]["config"]["nms"] == "soft"
    assert loaded["hyper_parameters"]["skeleton"]["joints"][0] == "nose"
