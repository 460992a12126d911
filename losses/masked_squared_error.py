"""Sum of masked, weighted squared differences (OpenPose and its descendants)."""

from __future__ import annotations

from torch import Tensor, nn


class MaskedSquaredError(nn.Module):
    """Σ M·W·(F − T)² over everything but the batch, divided by the batch size.

    A sum and not a mean: learning rates of networks trained with it are of the order of 1e-5.
    """

    def forward(
        self, prediction: Tensor, target: Tensor, mask: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor:
        """Scalar f32 of ``prediction`` against ``target``.

        Args:
            prediction: f32 [S, B, C, ...], S stages, which are summed.
            target: f32 [B, C, ...] or anything that broadcasts to ``prediction``.
            mask: bool or float, broadcasting to ``prediction``: 0 where nothing is learnt. Predictions under it may
                be anything finite.
            weight: f32, broadcasting to ``prediction``.

        A batch that is masked out gives a zero that still depends on ``prediction``.
        """
        error = (prediction - target).square()
        if weight is not None:
            error = error * weight
        if mask is not None:
            error = error * mask
        return error.sum() / prediction.shape[1]
