"""Where half precision ends."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Operations inside keep the types of their inputs, also under autocast; the ``meta`` device has no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
