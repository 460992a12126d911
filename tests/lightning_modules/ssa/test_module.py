import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO, Skeleton
from lightning_modules.shared.config import BackboneConfig, OptimizerConfig, OptimizerName
from lightning_modules.ssa.config import (
    Association,
    DecodeConfig,
    Grouping,
    LossWeights,
    Matching,
    Refinement,
    RefinerConfig,
    Supervision,
)
from lightning_modules.ssa.module import SSA
from lightning_modules.ssa.refinement import load_refiner
from lightning_modules.ssa.refiner_module import SinglePerson
from lightning_modules.ssa.targets import encode_targets

Make = Callable[..., Any]
SWITCHES: list[dict[str, Any]] = [
    {},
    {"supervision": Supervision.independent},
    {"supervised_layer": 1},
    {"loss_weights": LossWeights(mask=0.0)},
    {"stride": 8},
    {"heads": 4},
]
TEST_SWITCHES = [
    DecodeConfig(association=Association.naive),
    DecodeConfig(grouping=Grouping.body_first),
    DecodeConfig(matching=Matching.scored, masks=False),
]


def small_refiner() -> RefinerConfig:
    backbone = BackboneConfig("resnet18", weights=None, frozen_stages=0)
    return RefinerConfig(backbone, width=16, feedforward=32, heads=2, layers=1, crop_size=[64, 48])


def make_heatmaps_loud(module: SSA) -> None:
    for parameter in module.network.head.parameters():
        if parameter.dim() == 4:
            torch.nn.init.normal_(parameter, std=0.3)


def fit(module: pl.LightningModule, batch: PoseBatch, folder: Path, steps: int) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, DataLoader([batch] * steps, batch_size=None), DataLoader([batch], batch_size=None))
    return trainer


@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_no_switch_leaves_a_parameter_without_gradient(
    make_batch: Make, small_config: Make, changes: dict[str, Any]
) -> None:
    module = SSA(small_config(**changes), OptimizerConfig(), COCO)
    for is_anybody_there in (True, False):
        batch = make_batch()
        batch.persons.is_real[:] = is_anybody_there
        module.zero_grad()
        module.training_step(batch, 0).backward()
        assert [name for name, p in module.named_parameters() if p.grad is None] == []
        assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


def test_the_loss_is_the_weighted_sum(make_batch: Make, small_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}
    module = SSA(small_config(loss_weights=LossWeights(heatmap=3.0, mask=0.5)), OptimizerConfig(), COCO)
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: value}))
    loss = module.training_step(make_batch(), 0)
    torch.testing.assert_close(loss, 3 * logged["train/heatmap"] + 0.5 * logged["train/mask"])
    torch.testing.assert_close(logged["train/loss"], loss.detach())


def test_steps_lower_both_terms_and_the_checkpoint_is_plain(
    make_batch: Make, small_config: Make, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    config = small_config(loss_weights=LossWeights(mask=1.0), dropout=0.0)
    module = SSA(config, OptimizerConfig(name=OptimizerName.adam, lr=3e-3, weight_decay=0.0), COCO)
    batch = make_batch()

    @torch.no_grad()
    def terms() -> dict[str, float]:
        output = module.network.train()(batch.images)
        targets = encode_targets(batch, grid=output.grid, sigma=config.sigma)
        return {name: term.item() for name, term in module.criterion(output, targets).items()}

    before = terms()
    trainer = fit(module, batch, tmp_path, steps=25)
    after = terms()
    assert after["heatmap"] < 0.8 * before["heatmap"]
    assert after["mask"] < 0.8 * before["mask"]
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert loaded["hyper_parameters"]["paper"] == "ssa"
    assert loaded["hyper_parameters"]["config"]["decode"]["grouping"] == "part_first"


@pytest.mark.parametrize("decode", [DecodeConfig(), *TEST_SWITCHES], ids=str)
def test_predictions_of_an_untrained_network_have_their_shapes(
    make_batch: Make, small_config: Make, decode: DecodeConfig
) -> None:
    torch.manual_seed(0)
    module = SSA(small_config(decode=decode), OptimizerConfig(), COCO).eval()
    make_heatmaps_loud(module)
    predictions = module.predict(make_batch(width=96))
    people = predictions.scores.shape[1]
    assert 0 < people <= 20
    assert predictions.keypoints.shape == (2, people, 17, 3)
    assert (predictions.scores.diff(dim=1) <= 0).all()
    if decode.masks:
        assert predictions.masks is not None
        counts = predictions.is_valid.sum(1).tolist()
        assert [len(masks) for masks in predictions.masks] == counts
        assert all(mask.shape == (64, 96) for masks in predictions.masks for mask in masks)
    else:
        assert predictions.masks is None


def test_refiner_trains_and_serves_from_its_checkpoint(make_batch: Make, small_config: Make, tmp_path: Path) -> None:
    torch.manual_seed(0)
    refiner = SinglePerson(small_refiner(), OptimizerConfig(name=OptimizerName.adam, lr=1e-3), COCO)
    crops = make_batch(people=1, height=64, width=48)
    first = refiner.predict(crops)
    assert first.keypoints.shape == (2, 1, 17, 3)
    fit(refiner, crops, tmp_path, steps=3).save_checkpoint(tmp_path / "refiner.ckpt")
    network, config = load_refiner(tmp_path / "refiner.ckpt", 17)
    assert config == dataclasses.replace(small_refiner(), backbone=config.backbone)
    for name, value in network.state_dict().items():
        assert torch.equal(value, refiner.network.state_dict()[name])
    # Every joint that was found agrees, else untrained networks might not on a single one.
    decode = DecodeConfig(refinement=Refinement.fill, refiner=str(tmp_path / "refiner.ckpt"), agreement=-1.0)
    module = SSA(small_config(decode=decode), OptimizerConfig(), COCO).eval()
    assert not any("refine" in name for name in module.state_dict())
    make_heatmaps_loud(module)
    plain = SSA(small_config(), OptimizerConfig(), COCO).eval()
    plain.load_state_dict(module.state_dict())
    batch = make_batch()
    refined, unrefined = module.predict(batch), plain.predict(batch)
    torch.testing.assert_close(refined.scores, unrefined.scores)
    assert not torch.equal(refined.keypoints, unrefined.keypoints)


def test_refiner_learns_joints_outside_as_far_as_their_gaussian_reaches(make_batch: Make) -> None:
    """σ of 2 cells: a Gaussian six cells left of the map still teaches its joint's map, one farther away nothing."""
    refiner = SinglePerson(small_refiner(), OptimizerConfig(), COCO)
    batch = make_batch(people=1, height=64, width=48)
    batch.persons.visibility[:] = 0
    batch.persons.visibility[0, 0, :2] = 1
    batch.persons.keypoints[0, 0, :2] = torch.tensor([[-24.0, 30.0], [-24.1, 30.0]])
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    refiner.criterion.register_forward_hook(lambda _, given, loss: seen.append(given))
    with patch.object(refiner, "log"):
        refiner.training_step(batch, 0)
    _, targets, weight = seen[0]
    assert weight[0].tolist() == [1.0] + [0.0] * 16
    assert weight[1:].sum() == 0
    assert targets[0, 0, 7, 0].item() == pytest.approx(math.exp(-(6**2) / 8), rel=1e-5)
    assert targets[0, 1].sum() == 0


def test_refinement_without_a_usable_checkpoint_is_refused(small_config: Make, tmp_path: Path) -> None:
    def build(path: Path | None, skeleton: Skeleton = COCO) -> None:
        decode = DecodeConfig(refinement=Refinement.replace, refiner=None if path is None else str(path))
        SSA(small_config(decode=decode), OptimizerConfig(), skeleton)

    with pytest.raises(ValueError, match=r"needs model\.decode\.refiner=CHECKPOINT"):
        build(None)
    with pytest.raises(ValueError, match=r"missing\.ckpt: no such file"):
        build(tmp_path / "missing.ckpt")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    with pytest.raises(ValueError, match=r"text\.ckpt: not a checkpoint"):
        build(tmp_path / "text.ckpt")
    torch.save({"hyper_parameters": {"paper": "ssa"}, "state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="of paper 'ssa', ssa_refiner is needed"):
        build(tmp_path / "other.ckpt")
    module = SinglePerson(small_refiner(), OptimizerConfig(), Skeleton("pair", ("left_a", "right_a"), (), (0.1, 0.1)))
    torch.save({"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}, tmp_path / "pair.ckpt")
    with pytest.raises(ValueError, match=r"pair\.ckpt: size mismatch"):
        build(tmp_path / "pair.ckpt")
