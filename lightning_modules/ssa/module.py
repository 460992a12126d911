"""SSA as a LightningModule: what happens in a step, nothing else."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.shared.config import OptimizerConfig, as_plain
from lightning_modules.shared.optim import build_optimizer
from lightning_modules.shared.vital_parts import Part
from lightning_modules.ssa.config import Config
from lightning_modules.ssa.criterion import Criterion
from lightning_modules.ssa.decode import Decoder, to_predictions
from lightning_modules.ssa.network import Network, network_parts
from lightning_modules.ssa.refinement import build_person_refiner
from lightning_modules.ssa.targets import encode_targets


class SSA(pl.LightningModule):
    """Bottom-up pose estimation and person masks by supervised self-attention.

    Trained as Appendix A.1: Adam on α·L_heatmap + β·L_mask (Eq. 4), the mask term on one layer's attention.
    Tested as Sections 2.4 and 2.5: candidates, grouping by attention, masks, union; refinement where configured.

    Args:
        config: knobs and ablation switches.
        optimizer: optimizer and schedule.
        skeleton: keypoints, their order and how they mirror.

    Raises:
        ValueError: impossible configuration; weights or a refiner that are not there.
    """

    def __init__(self, config: Config, optimizer: OptimizerConfig, skeleton: Skeleton) -> None:
        super().__init__()
        plain = {"config": as_plain(config), "optimizer": as_plain(optimizer), "skeleton": as_plain(skeleton)}
        self.save_hyperparameters({"paper": "ssa", **plain}, logger=False)
        self.config = config
        self.optimizer_config = optimizer
        self.network = Network(config, skeleton.num_keypoints)
        self.criterion = Criterion()
        self.loss_weights: dict[str, float] = vars(config.loss_weights)
        self.decoder = Decoder(config.decode, skeleton)
        self.refine = build_person_refiner(config.decode, skeleton)

    def named_parts(self) -> dict[str, Part]:
        """Backbone, its reduction, each encoder layer, the independent attention where there is one, and the head."""
        return network_parts(self.network)

    @property
    def shared_features(self) -> nn.Module:
        return self.network.reduce

    def loss_terms(self, batch: PoseBatch) -> dict[str, Tensor]:
        """Unweighted f32 scalars by the names of ``loss_weights``."""
        output = self.network(batch.images)
        return self.criterion(output, encode_targets(batch, grid=output.grid, sigma=self.config.sigma))

    def training_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        terms = self.loss_terms(batch)
        loss = self.loss_weights["heatmap"] * terms["heatmap"] + self.loss_weights["mask"] * terms["mask"]  # Eq. 4
        self.log_dict({f"train/{name}": term.detach() for name, term in terms.items()}, batch_size=len(batch.images))
        self.log("train/loss", loss.detach(), batch_size=len(batch.images))
        return loss

    def predict(self, batch: PoseBatch) -> Predictions:
        """People of a batch, best first, with their masks."""
        people = self.decoder(self.network(batch.images), batch.meta.input_hw)
        if self.refine is not None:
            people = self.refine(batch.images, people)
        height, width = batch.images.shape[2:]
        return to_predictions(people, batch.meta, (height, width), self.config.decode)

    def validation_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def test_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def predict_step(self, batch: PoseBatch, batch_idx: int = 0) -> Predictions:
        return self.predict(batch)

    def configure_optimizers(self) -> Any:
        return build_optimizer(self.parameters(), self.optimizer_config, self.trainer)
