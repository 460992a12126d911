"""Flip and multi-scale testing by one name for all papers, as overrides of the paper's own keys. Imports no torch."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from experiments.evaluation.published import table_rows
from experiments.merging import ConfigError


def flip_override(paper: str, config: type, flip: str) -> str:
    """``model.flip_test=true`` or where the paper keeps it.

    Args:
        config: the paper's ``Config`` dataclass.
        flip: ``on`` or ``off``.

    Raises:
        ConfigError: the paper is not tested on mirror images.
    """
    return f"{_key(paper, config, 'flip_test', 'flip test')}={'true' if flip == 'on' else 'false'}"


def scales_override(paper: str, config: type, scales: str) -> str:
    """``model.scales=[…]`` or where the paper keeps it.

    Args:
        scales: ``single``, ``paper`` (the scales of its published multi-scale rows), or numbers such as ``400,800``.

    Raises:
        ConfigError: the paper has no multi-scale test, or these are no scales.
    """
    key = _key(paper, config, "scales", "multi-scale test")
    default: list[float] = _find(config(), key)
    if scales == "single":
        chosen = "[1.0]" if default else "[]"  # multiples of a size, or sizes beside the one of the data
    elif scales == "paper":
        chosen = str(default or _published(paper, key))
    else:
        chosen = f"[{scales}]"
        if not all(part.strip().replace(".", "", 1).isdigit() for part in scales.split(",")):
            raise ConfigError(f"--scales {scales}: is single, paper, or numbers such as 400,800")
    return f"{key}={chosen}"


def _published(paper: str, key: str) -> list[float]:
    for row in table_rows(paper):
        if key in row.settings:
            return list(row.settings[key])
    raise ConfigError(f"{paper} publishes no scales; give them as --scales 400,800")


def _key(paper: str, config: type, name: str, what: str) -> str:
    for item in fields(config):
        if item.name == name:
            return f"model.{name}"
    decode = getattr(config(), "decode", None)
    if is_dataclass(decode) and any(item.name == name for item in fields(decode)):
        return f"model.decode.{name}"
    raise ConfigError(f"{paper} has no {what}")


def _find(config: Any, key: str) -> list[float]:
    for part in key.split(".")[1:]:
        config = getattr(config, part)
    return list(config)
