"""InsPose's losses (Eq. 5): classification, KP-Nets, disk offsets, auxiliary heatmap, and boxes where detected."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_modules.inspose.assignment import select_positives
from lightning_modules.inspose.config import Config
from lightning_modules.inspose.kp_net import KPNetShape, apply_kp_nets, resample
from lightning_modules.inspose.locations import locations
from lightning_modules.inspose.network import Output
from lightning_modules.inspose.targets import Targets
from lightning_modules.shared.distributed import normalizers_over_ranks
from losses.focal import SigmoidFocalLoss
from losses.giou import GIoULoss
from losses.heatmap_focal import HeatmapFocalLoss
from losses.masked_l1 import MaskedL1
from losses.spatial_cross_entropy import SpatialCrossEntropy


class Criterion(nn.Module):
    """Output and Targets -> named, unweighted f32 terms.

    Divisors are counted over all processes, so N of them train as one would on the union of their batches; every
    process must therefore call it in every step.

    Args:
        config: focal parameters, map stride, cap on positives.
        kp_net: layers of a KP-Net.
    """

    def __init__(self, config: Config, kp_net: KPNetShape) -> None:
        super().__init__()
        self.kp_net = kp_net
        self.map_stride = config.map_stride
        self.max_positives = config.max_positives
        self.focal = SigmoidFocalLoss(config.focal_alpha, config.focal_gamma)
        self.cross_entropy = SpatialCrossEntropy()
        self.l1 = MaskedL1()
        self.heatmap_focal = HeatmapFocalLoss()
        self.giou = GIoULoss()

    def forward(self, output: Output, targets: Targets, image_hw: tuple[int, int]) -> dict[str, Tensor]:
        """Terms ``cls`` and ``keypoint``, and ``disk_offset``, ``heatmap``, ``box`` where the model predicts them.

        Args:
            image_hw: height and width of the input, padding included.

        Without people ``cls`` and ``heatmap`` are those of the background and the others are 0 with gradient 0.
        """
        grid = locations(image_hw, output.class_logits.device)
        positives = select_positives(targets.person_index, output.class_logits, self.max_positives)
        is_positive = targets.person_index >= 0
        person = positives.person.unsqueeze(-1).expand(-1, -1, targets.cells.shape[-1])
        has_target = targets.is_labelled.gather(1, person) & positives.is_valid.unsqueeze(-1)
        counts = [is_positive.sum(), has_target.sum(), positives.is_valid.sum()]
        if targets.disk_mask is not None:
            counts.append(2 * targets.disk_mask.sum())
        if targets.heatmap_s8 is not None:
            counts.append((targets.heatmap_s8 == 1).sum())
        divisors = list(normalizers_over_ranks(torch.stack(counts)).unbind())

        points = grid.points[positives.locations]
        maps = apply_kp_nets(
            output.kp_features_s8,
            _at(output.parameters, positives.locations),
            points,
            grid.scales[positives.locations],
            self.kp_net,
        )
        terms = {
            "cls": self.focal(output.class_logits, is_positive, targets.is_learnt, divisors[0]),
            "keypoint": self.cross_entropy(  # Eq. 4
                resample(maps, self.map_stride),
                targets.cells.gather(1, person),
                has_target,
                targets.is_inside[:, None, None],
                divisors[1],
            ),
        }
        if output.box_distances is not None:
            left_top, right_bottom = _at(output.box_distances, positives.locations).split(2, dim=-1)
            boxes = torch.cat([points - left_top, points + right_bottom], dim=-1)
            box_targets = targets.boxes.gather(1, positives.person.unsqueeze(-1).expand(-1, -1, 4))
            terms["box"] = self.giou(boxes, box_targets, positives.is_valid, divisors[2])
        rest = divisors[3:]
        if output.disk_offsets_s8 is not None and targets.disk_offsets is not None and targets.disk_mask is not None:
            offsets = resample(output.disk_offsets_s8.float(), self.map_stride)
            offsets = offsets.unflatten(1, (-1, 2))
            terms["disk_offset"] = self.l1(offsets, targets.disk_offsets, targets.disk_mask.unsqueeze(2), rest.pop(0))
        if output.heatmap_s8 is not None and targets.heatmap_s8 is not None:
            terms["heatmap"] = self.heatmap_focal(
                output.heatmap_s8, targets.heatmap_s8, targets.heatmap_mask_s8, rest.pop(0)
            )
        return terms


def _at(values: Tensor, index: Tensor) -> Tensor:
    """``[B, C, L]`` at ``[B, N]`` -> ``[B, N, C]``."""
    return values.gather(2, index.unsqueeze(1).expand(-1, values.shape[1], -1)).transpose(1, 2)
