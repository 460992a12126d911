"""The decoder and the predictors: CPN's GlobalNet, and what the paper adds to the early stages (Section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.ssn.config import EarlyPredictor

GROUPS = 32


def convolution(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """Convolution without bias, group normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(inplace=True),
    )


def heatmap_convolution(inputs: int, num_keypoints: int) -> nn.Sequential:
    """3×3 convolution and batch normalisation: the last layer of every predictor.

    # choice: the normalisation's scale starts at 0.1, near the spread of the target. At 1 the first heatmaps are noise
    # of variance 1, and hundreds of steps go by before they are better than nothing.
    """
    norm = nn.BatchNorm2d(num_keypoints)
    nn.init.constant_(norm.weight, 0.1)
    return nn.Sequential(nn.Conv2d(inputs, num_keypoints, 3, padding=1, bias=False), norm)


def early_stage_predictor(kind: EarlyPredictor, channels: int, num_keypoints: int) -> nn.Sequential:
    """[B, C, h, w] -> heatmaps [B, K, h, w].

    The paper gives no structure. # choice: ``bottleneck``, the simplest that fits every count of Table 1.
    """
    if kind is EarlyPredictor.wide:
        layers = [convolution(channels, 256, 1), convolution(256, 256, 1), heatmap_convolution(256, num_keypoints)]
    else:
        layers = [convolution(channels, 128, 1), convolution(128, 128, 3), heatmap_convolution(128, num_keypoints)]
    return nn.Sequential(*layers)


def predictor(width: int, num_keypoints: int) -> nn.Sequential:
    """[B, width, h, w] -> heatmaps [B, K, h, w]."""
    return nn.Sequential(convolution(width, width, 1), heatmap_convolution(width, num_keypoints))


class UShape(nn.Module):
    """Stage outputs, fine to coarse -> heatmaps of P1 to P4, coarse to fine.

    A level is its lateral 1×1 convolution plus the coarser level, first doubled bilinearly, then put through a 1×1
    convolution: the other order misses Table 1's count of operations.
    """

    def __init__(self, channels: Sequence[int], width: int, num_keypoints: int) -> None:
        super().__init__()
        coarse_to_fine = channels[::-1]
        self.laterals = nn.ModuleList(convolution(inputs, width, 1) for inputs in coarse_to_fine)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.GroupNorm(GROUPS, width))
            for _ in coarse_to_fine[1:]
        )
        self.predictors = nn.ModuleList(predictor(width, num_keypoints) for _ in coarse_to_fine)

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        level = self.laterals[0](stages[-1])
        heatmaps = [self.predictors[0](level)]
        for stage, lateral, smooth, predict in zip(
            reversed(stages[:-1]), self.laterals[1:], self.smooth, self.predictors[1:], strict=True
        ):
            doubled = F.interpolate(level, size=stage.shape[2:], mode="bilinear", align_corners=False)
            level = lateral(stage) + smooth(doubled)
            heatmaps.append(predict(level))
        return heatmaps
