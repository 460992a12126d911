"""SSN as a LightningModule: what happens in a step, nothing else."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, Predictions
from datamodules.skeleton import Skeleton
from lightning_modules.shared.config import OptimizerConfig, as_plain
from lightning_modules.shared.oks import SuppressDuplicates
from lightning_modules.shared.optim import build_optimizer
from lightning_modules.shared.peaks import average_flipped
from lightning_modules.shared.vital_parts import Part
from lightning_modules.ssn.config import Config
from lightning_modules.ssn.criterion import Criterion
from lightning_modules.ssn.decode import decode
from lightning_modules.ssn.network import Network, network_parts
from lightning_modules.ssn.targets import encode_targets


class SpatialShortcutNetwork(pl.LightningModule):
    """Top-down pose estimation with feature shifting modules, on person crops.

    Trained as the paper's Section 4: Adam on the squared error of all predictors; the offsets are a parameter group
    of their own, whose rate ``callbacks.offset_lr_decay`` sets, and the modules join after 6000 steps by
    ``callbacks.delayed_fsm_insertion``. Tested on the average of a crop's and its mirror image's heatmaps.

    Args:
        config: knobs and ablation switches.
        optimizer: optimizer and schedule.
        skeleton: keypoints and how they mirror.

    Raises:
        ValueError: impossible configuration; weights that are not there.
    """

    def __init__(self, config: Config, optimizer: OptimizerConfig, skeleton: Skeleton) -> None:
        super().__init__()
        plain = {"config": as_plain(config), "optimizer": as_plain(optimizer), "skeleton": as_plain(skeleton)}
        self.save_hyperparameters({"paper": "ssn", **plain}, logger=False)
        self.config = config
        self.optimizer_config = optimizer
        self.skeleton = skeleton
        self.loss_weights: dict[str, float] = vars(config.loss_weights)
        self.network = Network(config, skeleton.num_keypoints)
        self.criterion = Criterion()
        self.suppress = SuppressDuplicates(skeleton, config.decode.oks_nms) if config.decode.oks_nms < 1 else None
        """What the evaluation does with the people of one photograph, whose crops come one by one."""

    def named_parts(self) -> dict[str, Part]:
        """``fsm<n>_offsets``, ``fsm<n>_attention`` and ``fsm<n>`` (all else of it), predictors, and the ``trunk``."""
        return network_parts(self.network)

    def training_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        output = self.network(batch.images)
        height, width = output.heatmap_s4.shape[2:]
        targets = encode_targets(batch.persons, (height, width), self.config.sigma)
        terms = self.criterion(output, targets)
        loss = torch.stack([self.loss_weights[name] * term for name, term in terms.items()]).sum()
        self.log_dict({f"train/{name}": term.detach() for name, term in terms.items()}, batch_size=len(batch.images))
        self.log("train/loss", loss.detach(), batch_size=len(batch.images))
        return loss

    def predict(self, batch: PoseBatch) -> Predictions:
        """The person of each crop, in the photograph."""
        heatmap = self.network(batch.images).heatmap_s4
        if self.config.decode.flip_test:
            permutation = torch.tensor(self.skeleton.flip_permutation, device=heatmap.device)
            mirrored = self.network(batch.images.flip(-1)).heatmap_s4
            heatmap = average_flipped(heatmap, mirrored, permutation)
        return decode(heatmap, batch, self.config.decode, self.config.sigma)

    def validation_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def test_step(self, batch: PoseBatch, batch_idx: int) -> Predictions:
        return self.predict(batch)

    def predict_step(self, batch: PoseBatch, batch_idx: int = 0) -> Predictions:
        return self.predict(batch)

    def configure_optimizers(self) -> Any:
        offsets = [parameter for name, parameter in self.named_parameters() if name.endswith(".offsets")]
        others = [parameter for name, parameter in self.named_parameters() if not name.endswith(".offsets")]
        rate = self.config.feature_shift.offset_lr
        groups: list[dict[str, Any]] = [
            {"params": others},
            {"params": offsets, "name": "offsets", "lr": rate, "weight_decay": 0.0},
        ]
        return build_optimizer(groups, self.optimizer_config, self.trainer)
