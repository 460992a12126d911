"""The loss of all stages as named, unweighted terms (Eqs. 14, 15 and 17)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_modules.openpose_ssal.config import Config, KlForm
from lightning_modules.openpose_ssal.converters import Generated
from lightning_modules.openpose_ssal.network import Output
from lightning_modules.openpose_ssal.parts import Parts
from lightning_modules.openpose_ssal.targets import Targets
from losses.gated_offset import GatedOffsetError
from losses.map_divergence import MapDivergence
from losses.masked_squared_error import MaskedSquaredError
from losses.progressive_direction import ProgressiveDirection, direction_fault, stage_factors
from losses.spatial_attention import SpatialAttention

_TINY = 1e-6


class Criterion(nn.Module):
    """Composes the losses; every term is half the sum over stages and cells, divided by the batch size (as in Caffe).

    Terms (keys of ``Config.loss_weights``): ``heatmap`` L_s, ``paf`` L_m + L_n, ``offset`` L_x + L_y,
    ``generated_heatmap`` L_ps, ``heatmap_kl`` L_kl, and ``generated_paf``, ``paf_kl`` for the opposite direction.
    """

    heatmap_partner: Tensor
    limb_partner: Tensor

    def __init__(self, config: Config, parts: Parts) -> None:
        super().__init__()
        background = len(parts.names)
        self.register_buffer("heatmap_partner", torch.tensor([*parts.part_partners, background]), persistent=False)
        self.register_buffer("limb_partner", torch.tensor(parts.limb_partners), persistent=False)
        self.active = config.offset_gate
        self.squared_error = MaskedSquaredError()
        self.divergence = MapDivergence(generalised=config.kl_form is KlForm.generalised, floor=_TINY)
        self.attention = SpatialAttention(config.salm_alpha)
        self.direction = ProgressiveDirection(stage_factors(config.pdd_schedule.value, config.network.stages))
        self.offset_error = GatedOffsetError(config.offset_gate)

    def forward(self, output: Output, generated: Generated, targets: Targets) -> dict[str, Tensor]:
        """Predictions of S stages, what was generated of them and targets -> fp32 scalars.

        A batch without people, or masked out, still touches every parameter.
        """
        with torch.autocast(output.heatmaps.device.type, enabled=False):
            return self._terms(
                Output(output.heatmaps.float(), output.pafs.float(), _float(output.offsets)),
                Generated(_float(generated.heatmaps), _float(generated.pafs)),
                targets,
            )

    def _terms(self, output: Output, generated: Generated, targets: Targets) -> dict[str, Tensor]:
        learnt = targets.learnt
        # Eq. 17. Where offsets are learnt, their own part is active: no fault there, so they need no weight of it.
        on_parts = self.direction(direction_fault(targets.heatmaps > self.active, self.heatmap_partner))
        on_limbs = self.direction(direction_fault(targets.on_limb, self.limb_partner)) * self.attention(
            targets.attention
        )
        over_axes, learnt_axes = on_limbs.unsqueeze(3), learnt.unsqueeze(2)
        terms = {
            "heatmap": self.squared_error(output.heatmaps, targets.heatmaps, learnt, on_parts),
            "paf": self.squared_error(output.pafs, targets.pafs, learnt_axes, over_axes),
        }
        if output.offsets is not None:
            terms["offset"] = self.offset_error(output.offsets, targets.offsets, targets.heatmaps[:, :-1], learnt)
        if generated.heatmaps is not None:
            terms["generated_heatmap"] = self.squared_error(generated.heatmaps, targets.heatmaps, learnt, on_parts)
            terms["heatmap_kl"] = self.divergence(output.heatmaps, generated.heatmaps, learnt)
        if generated.pafs is not None:
            terms["generated_paf"] = self.squared_error(generated.pafs, targets.pafs, learnt_axes, over_axes)
            terms["paf_kl"] = self.divergence(_length(output.pafs), _length(generated.pafs), learnt)
        return {name: 0.5 * term for name, term in terms.items()}


def _length(pafs: Tensor) -> Tensor:
    """[S, B, L, 2, h, w] -> [S, B, L, h, w]. choice: the divergence needs maps that are not negative."""
    return (pafs.square().sum(3) + _TINY**2).sqrt()


def _float(maps: Tensor | None) -> Tensor | None:
    return None if maps is None else maps.float()
