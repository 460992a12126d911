"""Which annotation file goes with result files, by the command line. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.config import ConfigError
from experiments.evaluation.protocol import find_protocol


def annotations_of(overrides: list[str], protocol: str | None) -> Path | None:
    """The annotation file that ``data.root`` and ``data.val_split`` name; None where they are not given.

    Raises:
        ConfigError: another key, or no such file.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        key, _, value = override.partition("=")
        if key not in ("data.root", "data.val_split"):
            raise ConfigError(f"{override}: result files know data.root and data.val_split only")
        values[key] = value
    if "data.root" not in values:
        return None
    from datamodules.selection import annotation_file

    default = find_protocol(protocol).split if protocol else None
    file = annotation_file(Path(values["data.root"]), values.get("data.val_split", default or "val2017"))
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; correct data.root, or give --annotations FILE")
    return file
