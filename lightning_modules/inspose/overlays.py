"""What InsPose can show over a photograph: the keypoint maps that each person's own KP-Net makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from datamodules.contracts import PoseBatch
from lightning_modules.inspose.decode import propose
from lightning_modules.inspose.locations import FEATURE_STRIDE, map_shape

_PEOPLE = 20


def dynamic_filters(module: Any, batch: PoseBatch) -> Tensor:
    """f32 [B, 1, h, w]: the highest answer of the KP-Nets of the 20 best candidates, suppression left out.

    A map's probability is divided by its peak and weighed with the candidate's score: faint where nobody is sure.
    """
    height, width = batch.images.shape[-2:]
    network = module.network
    proposals = propose(network(batch.images), batch.meta.input_hw, (height, width), module.config, network.kp_net)
    if not proposals.scores.shape[1]:
        return batch.images.new_zeros(len(batch.images), 1, *map_shape((height, width), FEATURE_STRIDE))
    maps = proposals.maps(slice(0, _PEOPLE))
    probabilities = (maps - maps.amax(dim=(3, 4), keepdim=True)).exp()
    weighed = probabilities * proposals.scores[:, :_PEOPLE, None, None, None]
    return weighed.flatten(1, 2).amax(dim=1, keepdim=True)


OVERLAYS: dict[str, Callable[[Any, PoseBatch], Tensor]] = {"dynamic_filters": dynamic_filters}
"""Name -> (module, normalised batch) -> maps over the whole input."""
