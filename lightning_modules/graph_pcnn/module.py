"""Graph-PCNN as a LightningModule: what happens in a step, nothing else."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from datamodules.contracts import PoseBatch, Predictions, last_stage
from datamodules.skeleton import Skeleton
from lightning_modules.graph_pcnn.config import Config, Refinement
from lightning_modules.graph_pcnn.criterion import Criterion
from lightning_modules.graph_pcnn.decode import to_predictions
from lightning_modules.graph_pcnn.guided_points import GuidedPointSampler
from lightning_modules.graph_pcnn.inference import PoseEstimator
from lightning_modules.graph_pcnn.network import Network
from lightning_modules.graph_pcnn.reliable_share import ReliableShare
from lightning_modules.graph_pcnn.targets import encode_targets
from lightning_modules.shared.config import OptimizerConfig, as_plain
from lightning_modules.shared.oks import SuppressDuplicates
from lightning_modules.shared.optim import build_optimizer
from lightning_modules.shared.vital_parts import Part, children_as_parts


class GraphPCNN(pl.LightningModule):
    """Two-stage top-down pose estimation; with ``Refinement.none`` SimpleBaseline or HRNet alone.

    Trained as §3.3: the heatmap loss of the base, plus classification and regression of guided points sampled around
    the joints, away from them, and where the heatmap responds (§3.1). Tested as §3.4; both stages are evaluated.

    Args:
        config: knobs and ablation switches.
        optimizer: optimizer and schedule.
        skeleton: keypoints, the limbs messages travel along, and how keypoints mirror.

    Raises:
        ValueError: impossible configuration; weights that are not there.
    """

    def __init__(self, config: Config, optimizer: OptimizerConfig, skeleton: Skeleton) -> None:
        super().__init__()
        plain = {"config": as_plain(config), "optimizer": as_plain(optimizer), "skeleton": as_plain(skeleton)}
        self.save_hyperparameters({"paper": "graph_pcnn", **plain}, logger=False)
        self.config = config
        self.optimizer_config = optimizer
        self.skeleton = skeleton
        self.network = Network(config, skeleton.limb_indices, skeleton.num_keypoints)
        self.sample = GuidedPointSampler.from_config(config)
        self.criterion = Criterion(config)
        self.estimate = PoseEstimator(config, skeleton)
        self.stages = ("stage1",) if config.refinement is Refinement.none else ("stage1", "stage2")
        """What ``validation_step`` returns by name; both are evaluated."""
        nms = config.oks_nms_threshold
        self.suppress = SuppressDuplicates(skeleton, nms) if nms < 1 else None
        """What the evaluation does with the people of one photograph, whose crops come one by one."""
        self.measures = {"stage2": ReliableShare(config.reliable_heat)} if len(self.stages) > 1 else {}
        """Metrics of an evaluation beside COCO's, by stage."""
        self.loss_weights: dict[str, float] = vars(config.loss_weights)

    def named_parts(self) -> dict[str, Part]:
        """The trunk, both branches after it, and the layers of graph pose refinement."""
        parts = children_as_parts(self.network)
        inside = {f"refinement_{name}": part for name, part in children_as_parts(self.network.refinement).items()}
        return {name: part for name, part in parts.items() if name != "refinement"} | inside

    @property
    def shared_features(self) -> nn.Module:
        return self.network.trunk

    def loss_terms(self, batch: PoseBatch) -> dict[str, Tensor]:
        """Unweighted f32 scalars by the names of ``loss_weights``."""
        output = self.network(batch.images)
        map_hw = (output.heatmap_s4.shape[-2], output.heatmap_s4.shape[-1])
        targets = encode_targets(batch.persons, map_hw, self.config.sigma, self.config.gaussian_center)
        points = refined = None
        if output.localization_s4 is not None:
            points = self.sample(output.heatmap_s4, targets.position, targets.weight > 0)
            refined = self.network.refine(output.localization_s4, points.position, points.heat, points.is_reliable)
        return self.criterion(output.heatmap_s4, targets, points, refined)

    def training_step(self, batch: PoseBatch, batch_idx: int) -> Tensor:
        terms = self.loss_terms(batch)
        loss = sum(
            (self.loss_weights[name] * term for name, term in terms.items()), start=terms["heatmap"].new_zeros(())
        )
        logged = {f"train/{name}": term.detach() for name, term in terms.items()}
        self.log_dict(logged, batch_size=len(batch.images))
        self.log("train/loss", loss.detach(), batch_size=len(batch.images))
        return loss

    def predict(self, batch: PoseBatch) -> dict[str, Predictions]:
        """One person per crop as each stage sees it, the final answer last."""
        pose = self.estimate(self.network, batch.images)
        stages = {"stage1": pose.stage1} if pose.stage2 is None else {"stage1": pose.stage1, "stage2": pose.stage2}
        threshold = self.config.keypoint_score_threshold
        return {stage: to_predictions(position, pose.score, batch, threshold) for stage, position in stages.items()}

    def validation_step(self, batch: PoseBatch, batch_idx: int) -> dict[str, Predictions]:
        return self.predict(batch)

    def test_step(self, batch: PoseBatch, batch_idx: int) -> dict[str, Predictions]:
        return self.predict(batch)

    def predict_step(self, batch: PoseBatch, batch_idx: int = 0) -> Predictions:
        return last_stage(self.predict(batch))

    def configure_optimizers(self) -> Any:
        return build_optimizer(self.parameters(), self.optimizer_config, self.trainer)
