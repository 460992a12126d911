"""The two terms of Eq. 4."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_modules.ssa.attention import attention_rows
from lightning_modules.ssa.network import Output
from lightning_modules.ssa.targets import Targets
from losses.instance_mask import InstanceMaskLoss
from losses.masked_mse import MaskedMSE


class Criterion(nn.Module):
    """Unweighted ``heatmap`` (Eq. 1) and ``mask`` (Eq. 3), fp32 scalars.

    The mask term reads the supervised attention before dropout, at the labelled keypoints' rows only. Without people
    it is 0 and still touches the supervised queries and keys.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heatmap = MaskedMSE()
        self.mask = InstanceMaskLoss()

    def forward(self, output: Output, targets: Targets) -> dict[str, Tensor]:
        batch, people, joints = targets.is_labelled.shape
        rows = attention_rows((output.supervised,), targets.cells.flatten(1))
        return {
            "heatmap": self.heatmap(output.heatmap_s4, targets.heatmap_s4, targets.ignore[:, None]),
            "mask": self.mask(
                rows.view(batch, people, joints, rows.shape[2]), targets.is_labelled, targets.masks, output.grid
            ),
        }
