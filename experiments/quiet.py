"""Silences messages that tell a user of this suite nothing, and puts the rest of the warnings on one line each."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import TextIO

NOISE = (
    ".*does not have many workers.*",
    ".*DataLoader will create .* worker processes in total.*",
    ".*number of training batches.*is smaller than the logging interval.*",
    ".*sync_dist=True.*when logging on epoch level.*",
    ".*Using .DistributedSampler. with the dataloaders.*",
    ".*Found .* module.* in eval mode at the start of training.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*ended before the epoch ended and your dataloader is not resumable.*",
    ".*No device id is provided via .init_process_group.*",
    ".*You called .self.log.*but have no logger configured.*",
    ".*The .srun. command is available on your system but is not used.*",
)


def quieten() -> None:
    """Call before anything else imports Lightning, which sets its own levels when it is imported."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import pytorch_lightning  # noqa: F401, it sets its levels now

    for name in ("pytorch_lightning", "lightning_fabric", "lightning", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for pattern in NOISE:
        warnings.filterwarnings("ignore", message=pattern)
    warnings.showwarning = _one_line


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = " ".join(str(message).split())
    print(f"warning: {text}", file=file or sys.stderr, flush=True)
