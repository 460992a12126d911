"""TransPose-R-A4, the single-person network of SSA's refinement rows, as a LightningModule."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.shared.config import OptimizerConfig, as_plain
from lightning_modules.shared.crops import people_of_crops
from lightning_modules.shared.gaussians import reaches_map
from lightning_modules.shared.optim import build_optimizer
from lightning_modules.shared.vital_parts import Part
from lightning_modules.ssa.config import RefinerConfig
from lightning_modules.ssa.network import HEATMAP_STRIDE, Refiner, network_parts
from lightning_modules.ssa.refinement import best_places
from lightning_modules.ssa.targets import draw_heatmaps
from losses.heatmap_mse import HeatmapMSE

LEAST_JOINT_SCORE = 0.2


class SinglePerson(pl.LightningModule):
    """Heatmap regression on person crops, squared error over labelled joints.

    A person scores its box's score times the mean of the joint scores above 0.2.

    Args:
        config: knobs of the network.
        optimizer: optimizer and schedule.
        skeleton: keypoints and how they mirror.

    Raises:
        ValueError: impossible configuration; weights that are not there.
    """

    def __init__(self, config: RefinerConfig, optimizer: OptimizerConfig, skeleton: Skeleton) -> None:
        super().__init__()
        plain = {"config": as_plain(config), "optimizer": as_plain(optimizer), "skeleton": as_plain(skeleton)}
        self.save_hyperparameters({"paper": "ssa_refiner", **plain}, logger=False)
        self.config = config
        self.optimizer_config = optimizer
        self.skeleton = skeleton
        self.network = Refiner(config, skeleton.num_keypoints)
        self.criterion = HeatmapMSE()

    def named_parts(self) -> dict[str, Part]:
        """Backbone, its reduction, each encoder layer and the head."""
        return network_parts(self.network)

    def training_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        height, width = batch.images.shape[2:]
        map_hw = (height // HEATMAP_STRIDE, width // HEATMAP_STRIDE)
        cells = (batch.persons.keypoints / HEATMAP_STRIDE).floor()
        is_labelled = (batch.persons.visibility > 0) & reaches_map(cells, self.config.sigma, map_hw)
        targets = draw_heatmaps(batch.persons.keypoints, is_labelled, map_hw, self.config.sigma)
        loss = self.criterion(self.network(batch.images), targets, is_labelled[:, 0].float())
        self.log("train/loss", loss.detach(), batch_size=len(batch.images))
        return loss

    def predict(self, batch: PoseBatch) -> Predictions:
        """One person per crop."""
        flip = list(self.skeleton.flip_permutation) if self.config.flip_test else None
        places = best_places(self.network, batch.images, flip)
        points, scores = places.split((2, 1), dim=2)
        scores = scores.squeeze(2)
        counted = scores * (scores > LEAST_JOINT_SCORE)
        mean = counted.sum(1) / (counted > 0).sum(1).clamp_min(1)
        return people_of_crops(points, scores, mean * batch.meta.detection_score, batch)

    def validation_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def test_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def predict_step(self, batch: PoseBatch, batch_idx: int = 0) -> Predictions:
        return self.predict(batch)

    def configure_optimizers(self) -> Any:
        return build_optimizer(self.parameters(), self.optimizer_config, self.trainer)
