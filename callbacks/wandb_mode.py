"""Where Weights & Biases runs go when a configuration does not say it. Imports nothing heavy."""

from __future__ import annotations

import netrc
import os
from urllib.parse import urlparse


def default_mode() -> str:
    """``WANDB_MODE`` where it is set, else ``online`` where someone is logged in, else ``offline``."""
    chosen = os.environ.get("WANDB_MODE")
    if chosen:
        return chosen if chosen in ("online", "disabled") else "offline"
    if os.environ.get("WANDB_API_KEY"):
        return "online"
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        entry = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        entry = None
    return "online" if entry else "offline"
