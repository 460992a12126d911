"""SSN as a graph: the network and its decoding, from a crop to keypoints in the crop."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.shared.exportable import Exportable, HeatmapAlone
from lightning_modules.shared.peaks import average_flipped
from lightning_modules.ssn.decode import peaks
from lightning_modules.ssn.feature_shift import Shift
from lightning_modules.ssn.targets import to_pixels


def exportables(module: Any) -> list[Exportable]:
    """The fullest first."""
    keypoints = {"keypoints": "[B, K, 3]: x, y in pixels of the crop, score"}
    heatmap = {"heatmap_s4": "[B, K, H/4, W/4], as the configured predictor gives it"}
    flip = " with the mirror image" if module.config.decode.flip_test else ""
    network = portable(module.network)
    return [
        Exportable(Keypoints(module, network), keypoints, f"network{flip} and decoding", 32),
        Exportable(HeatmapAlone(network), heatmap, "network alone; decoding is left", 32),
    ]


class GatheredShift(nn.Module):
    """``translation.translate`` by offsets that no longer change, in gathers that every runtime has."""

    whole: Tensor
    fraction: Tensor

    def __init__(self, offsets: Tensor) -> None:
        super().__init__()
        offsets = -offsets.detach()
        self.register_buffer("whole", offsets.floor().long())
        self.register_buffer("fraction", offsets - offsets.floor())

    def forward(self, maps: Tensor) -> Tensor:
        """R [B, K, H, W] -> S of the same shape (Eq. 1)."""
        batch, _, height, width = maps.shape
        rows = torch.arange(height + 1, device=maps.device) + self.whole[:, 1:]
        columns = torch.arange(width + 1, device=maps.device) + self.whole[:, :1]
        index = rows.clamp(0, height - 1)[None, :, :, None].expand(batch, -1, -1, width)
        cut = maps.gather(2, index)
        index = columns.clamp(0, width - 1)[None, :, None, :].expand(batch, -1, height + 1, -1)
        cut = cut.gather(3, index)
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
        cut = cut * inside.to(maps.dtype)
        across, down = (part[None, :, None, None] for part in self.fraction.unbind(1))
        between = cut[..., :-1, :] + down * (cut[..., 1:, :] - cut[..., :-1, :])
        return between[..., :-1] + across * (between[..., 1:] - between[..., :-1])


def portable(network: nn.Module) -> nn.Module:
    """A copy of the network whose shifts are ``GatheredShift``."""
    network = deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Shift):
                setattr(parent, name, GatheredShift(child.offsets))
    return network.eval()


class Keypoints(nn.Module):
    permutation: Tensor

    def __init__(self, module: Any, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.decode, self.sigma = module.config.decode, module.config.sigma
        self.register_buffer("permutation", torch.tensor(module.skeleton.flip_permutation))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        heatmap = self.network(images).heatmap_s4.float()
        if self.decode.flip_test:
            mirrored = self.network(images.flip(-1)).heatmap_s4.float()
            heatmap = average_flipped(heatmap, mirrored, self.permutation)
        points, scores = peaks(heatmap, self.decode.sub_pixel, self.sigma)
        return (torch.cat([to_pixels(points), scores[..., None]], dim=-1),)
