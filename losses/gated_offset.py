"""Squared error of block-inside offsets where a part is near (section II-B, Eq. 7's gate)."""

from __future__ import annotations

from torch import Tensor, nn

from losses.masked_squared_error import MaskedSquaredError


class GatedOffsetError(nn.Module):
    """Σ over cells whose target heatmap exceeds ``gate`` of W·|O − O*|², divided by the batch size."""

    def __init__(self, gate: float = 0.4) -> None:
        super().__init__()
        self.gate = gate
        self.error = MaskedSquaredError()

    def forward(
        self,
        offsets: Tensor,
        target: Tensor,
        heatmap: Tensor,
        mask: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Scalar f32 of predicted ``offsets`` against ``target``.

        Args:
            offsets: f32 [S, B, parts, 2, h, w], cells.
            target: f32 [B, parts, 2, h, w], cells.
            heatmap: target heatmap f32 [B, parts, h, w], whose cells above the gate count.
            mask: bool or float [B, 1, h, w]: 0 where nothing is learnt.
            weight: f32, broadcasting to [S, B, parts, h, w].

        A batch without people gives a zero that still depends on ``offsets``.
        """
        gate = heatmap > self.gate
        if mask is not None:
            gate = gate * mask
        return self.error(offsets, target, gate.unsqueeze(2), None if weight is None else weight.unsqueeze(-3))
