"""Kullback-Leibler divergence between two maps, neither of which sums to one (Eq. 13)."""

from __future__ import annotations

from torch import Tensor, nn


class MapDivergence(nn.Module):
    """Divergence of a generated map q from the predicted map p, both clamped to ``floor`` from below.

    The generalised form Σ p·log(p/q) − p + q takes p as given (no gradient), is never negative and is zero at p = q
    alone. The literal form of Eq. 13, Σ p·log(p/q) with gradients into both, presumes maps that sum to one: on
    heatmaps it falls without bound as q grows, and its gradient into p is zero at q = e·p.

    Args:
        generalised: which form.
        floor: smallest value of either map; below it a map gets no gradient.
    """

    def __init__(self, generalised: bool = True, floor: float = 1e-6) -> None:
        super().__init__()
        self.generalised, self.floor = generalised, floor

    def forward(self, predicted: Tensor, generated: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scalar f32: sum over stages and cells, divided by the batch size.

        Args:
            predicted: p, f32 [S, B, C, ...], any sign.
            generated: q, the same shape.
            mask: bool or float, broadcasting to the maps: 0 where nothing is learnt.

        A batch that is masked out gives a zero that still depends on both maps (on q alone in the generalised form).
        """
        p = (predicted.detach() if self.generalised else predicted).clamp_min(self.floor)
        q = generated.clamp_min(self.floor)
        divergence = p * (p / q).log()  # Eq. 13
        if self.generalised:
            divergence = divergence - p + q
        if mask is not None:
            divergence = divergence * mask
        return divergence.sum() / predicted.shape[1]
