"""InsPose as a LightningModule: what happens in a step, nothing else."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.inspose.config import Config
from lightning_modules.inspose.criterion import Criterion
from lightning_modules.inspose.network import Network
from lightning_modules.inspose.targets import encode_targets
from lightning_modules.inspose.test_time import predict
from lightning_modules.shared.config import OptimizerConfig, as_plain
from lightning_modules.shared.optim import backbone_and_heads, build_optimizer
from lightning_modules.shared.vital_parts import Part, children_as_parts


class InsPose(pl.LightningModule):
    """Single-stage multi-person pose estimation with a dynamic keypoint network per person.

    Trained as the paper's Section 4: SGD on L_cls + L_kpf + L_do + L_hm (Eq. 5), pseudo-boxes from keypoints alone.
    Tested as Section 3.4: threshold, the best candidates, their KP-Nets, suppression.

    Args:
        config: knobs and ablation switches.
        optimizer: optimizer and schedule.
        skeleton: keypoints and how they mirror.

    Raises:
        ValueError: impossible configuration; weights that are not there.
    """

    counts_over_ranks = True
    """The divisors of the loss are counted over all processes, but not over the batches that a step accumulates."""

    def __init__(self, config: Config, optimizer: OptimizerConfig, skeleton: Skeleton) -> None:
        super().__init__()
        plain = {"config": as_plain(config), "optimizer": as_plain(optimizer), "skeleton": as_plain(skeleton)}
        self.save_hyperparameters({"paper": "inspose", **plain}, logger=False)
        self.config = config
        self.optimizer_config = optimizer
        self.skeleton = skeleton
        self.network = Network(config, skeleton.num_keypoints)
        self.criterion = Criterion(config, self.network.kp_net)
        self.loss_weights: dict[str, float] = vars(config.loss_weights)

    def named_parts(self) -> dict[str, Part]:
        """Backbone, FPN and each head; ``parameter_head`` is the controller that generates the KP-Nets."""
        return children_as_parts(self.network)

    @property
    def shared_features(self) -> nn.Module:
        return self.network.fpn

    def loss_terms(self, batch: PoseBatch) -> dict[str, Tensor]:
        """Unweighted f32 scalars by the names of ``loss_weights``."""
        output = self.network(batch.images)
        targets = encode_targets(batch, self.config)
        return self.criterion(output, targets, tuple(batch.images.shape[-2:]))

    def training_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        terms = self.loss_terms(batch)
        loss = sum((self.loss_weights[name] * term for name, term in terms.items()), start=terms["cls"].new_zeros(()))
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(logged, batch_size=len(batch.images))
        self.log("train/loss", loss.detach(), batch_size=len(batch.images))
        return loss

    def predict(self, batch: PoseBatch) -> Predictions:
        """People of a batch, best first, with the configured mirror image and scales."""
        return predict(self.network, batch, self.config, self.skeleton.flip_permutation)

    def validation_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def test_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def predict_step(self, batch: PoseBatch, batch_idx: int = 0) -> Predictions:
        return self.predict(batch)

    def configure_optimizers(self) -> Any:
        groups = backbone_and_heads(self.network, self.optimizer_config.lr, self.config.backbone.lr_factor)
        return build_optimizer(groups, self.optimizer_config, self.trainer)
