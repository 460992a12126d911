"""OpenPose with self-supervision, spatial-sequential attention and block offsets: what happens in a step."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.openpose_ssal.config import Config
from lightning_modules.openpose_ssal.converters import Converters
from lightning_modules.openpose_ssal.criterion import Criterion
from lightning_modules.openpose_ssal.decode import decode, predict_scales
from lightning_modules.openpose_ssal.learning_rates import parameter_groups
from lightning_modules.openpose_ssal.network import Network
from lightning_modules.openpose_ssal.parts import parts_of
from lightning_modules.openpose_ssal.targets import encode_targets
from lightning_modules.shared.config import OptimizerConfig, as_plain
from lightning_modules.shared.optim import build_optimizer
from lightning_modules.shared.vital_parts import Part, numbered, part_by_name


class OpenPoseSsal(pl.LightningModule):
    """Bottom-up pose estimation by heatmaps, part affinity fields and block-inside offsets (Fig. 2).

    Trained as in section IV-A: SGD at 2e-5 on the sums of Eqs. 14, 15 and 17 over six stages, rates by layer.
    Tested there too: maps of several scales averaged, peaks, offsets, bipartite matching.

    Args:
        config: knobs and ablation switches; all of them off is OpenPose.
        optimizer: optimizer and schedule.
        skeleton: keypoints, and the limbs of any but COCO's.

    Raises:
        ValueError: impossible configuration; weights that are not there.
    """

    def __init__(self, config: Config, optimizer: OptimizerConfig, skeleton: Skeleton) -> None:
        super().__init__()
        config.validate()
        plain = {"config": as_plain(config), "optimizer": as_plain(optimizer), "skeleton": as_plain(skeleton)}
        self.save_hyperparameters({"paper": "openpose_ssal", **plain}, logger=False)
        self.config = config
        self.optimizer_config = optimizer
        self.skeleton = skeleton
        self.parts = parts_of(skeleton)
        counts = len(self.parts.names), len(self.parts.limbs)
        self.network = Network(config.network, *counts, config.block_offsets)
        self.converters = Converters(
            config.self_supervision,
            config.network.stages,
            *counts,
            width=config.converter_width,
            initial_std=config.network.initial_std,
        )
        self.criterion = Criterion(config, self.parts)
        self.loss_weights = config.loss_weights

    def named_parts(self) -> dict[str, Part]:
        """The trunk, its reduction, and each stage and converter by number."""
        network, converters = self.network, self.converters
        return part_by_name(
            [
                ("trunk", network.trunk),
                ("reduce", network.reduce),
                *numbered("paf_stage", network.paf_stages),
                *numbered("heatmap_stage", network.heatmap_stages),
                *numbered("to_heatmap", converters.to_heatmap),
                *numbered("to_paf", converters.to_paf),
            ]
        )

    @property
    def shared_features(self) -> nn.Module:
        return self.network.reduce

    def loss_terms(self, batch: PoseBatch) -> dict[str, Tensor]:
        """Unweighted f32 scalars by the names of ``loss_weights``."""
        output = self.network(batch.images)
        generated = self.converters(output)
        targets = encode_targets(batch, self.parts, self.config)
        return self.criterion(output, generated, targets)

    def training_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        terms = self.loss_terms(batch)
        loss = sum((self.loss_weights[name] * term for name, term in terms.items()), start=batch.images.new_zeros(()))
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(logged, batch_size=len(batch.images))
        self.log("train/loss", loss.detach(), batch_size=len(batch.images))
        return loss

    def predict(self, batch: PoseBatch) -> Predictions:
        """People of a batch, best first, at the configured scales."""
        config = self.config
        scales = predict_scales(
            self.network, batch.images, batch.meta.input_hw, config.network.downsampling, config.decode
        )
        return decode(scales, batch, self.parts, config.decode)

    def validation_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def test_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def predict_step(self, batch: PoseBatch, batch_idx: int = 0) -> Predictions:
        return self.predict(batch)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer_config
        if not self.config.rates_by_layer:
            return build_optimizer(self.parameters(), optimizer, self.trainer)
        groups = parameter_groups(self.network, self.converters, optimizer.lr, optimizer.weight_decay)
        return build_optimizer(groups, optimizer, self.trainer)
