"""How the configuration of a run is composed and checked. Told wrong before torch is loaded."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from experiments.merging import ConfigError, did_you_mean, merge, read_override, read_yaml_file
from experiments.schema import DATA_PATHS, MACHINE_KEYS, OnNan, RunConfig, WandbConfig, WandbMode, is_among
from lightning_modules.papers import PAPERS, load

__all__ = [
    "ConfigError",
    "OnNan",
    "RunConfig",
    "WandbConfig",
    "WandbMode",
    "compose",
    "fingerprint",
    "list_papers",
    "list_preset_keys",
    "list_presets",
    "load_config",
    "restore",
    "to_plain",
]

_CROPS_BEFORE_THEIR_KEYS = {"crop_fill": "mean", "crop_shrink": "area", "joints_outside": "drop"}
"""Keys of ``data`` that top-down runs of earlier versions did not record, with what those runs did."""

CONFIGS = Path(__file__).with_name("configs")


def compose(paper: str, preset: str | None = None, overrides: list[str] | None = None) -> RunConfig:
    """schema <- ``configs/<paper>.yaml`` <- its preset <- ``key=value`` overrides.

    Raises:
        ConfigError: an unknown paper, preset or key, a wrong type or name, values that make no sense.
    """
    file, recipe = _recipe(paper)
    presets = _presets(recipe, file)
    recipe.pop("presets", None)
    if preset is not None and preset not in presets:
        known = ", ".join(presets) or "none"
        raise ConfigError(f"{paper} has no preset {preset!r}{did_you_mean(preset, list(presets))} (presets: {known})")
    schema = OmegaConf.structured(RunConfig(paper=paper, preset=preset))
    schema.model = OmegaConf.structured(load(PAPERS[paper].config))
    merge(schema, recipe, str(file))
    if preset is not None:
        merge(schema, {key: value for key, value in presets[preset].items() if key != "about"}, f"{file}: {preset}")
    _merge_overrides(schema, overrides or [])
    config = cast(RunConfig, OmegaConf.to_object(schema))
    _check(config)
    return config


def list_papers() -> list[str]:
    """The papers that have a recipe."""
    return [paper for paper in PAPERS if (CONFIGS / f"{paper}.yaml").is_file()]


def list_presets(paper: str) -> dict[str, str]:
    """Preset -> its one line.

    Raises:
        ConfigError: as ``compose``.
    """
    file, recipe = _recipe(paper)
    presets = _presets(recipe, file)
    return {name: str(values.get("about", "")) for name, values in presets.items()}


def list_preset_keys(paper: str, preset: str) -> set[str]:
    """The dotted keys a preset sets.

    Raises:
        ConfigError: as ``compose``.
    """
    presets = _recipe(paper)[1].get("presets") or {}
    return set(flatten({key: value for key, value in (presets.get(preset) or {}).items() if key != "about"}))


def to_plain(config: RunConfig) -> dict[str, Any]:
    """Nested dicts, lists and scalars, enums by name: for YAML, JSON and checkpoints."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def load_config(file: Path) -> RunConfig:
    """The configuration that ``to_plain`` wrote as YAML.

    Raises:
        ConfigError: the file cannot be read or does not fit this version's schema.
    """
    return restore(read_yaml_file(file), str(file))


def restore(values: Any, source: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration that ``to_plain`` gave, and ``key=value`` overrides on it.

    Args:
        source: where the values come from, for messages.

    Raises:
        ConfigError: they do not fit this version's schema, or an override is a mistake.
    """
    if not isinstance(values, dict) or values.get("paper") not in PAPERS:
        raise ConfigError(f"{source}: not the configuration of a run")
    if isinstance(data := values.get("data"), dict) and data.get("view") == "person":
        values = {**values, "data": {**_CROPS_BEFORE_THEIR_KEYS, **data}}
    schema = OmegaConf.structured(RunConfig())
    schema.model = OmegaConf.structured(load(PAPERS[values["paper"]].config))
    merge(schema, values, source)
    _merge_overrides(schema, overrides)
    config = cast(RunConfig, OmegaConf.to_object(schema))
    if overrides:
        _check(config)
    return config


def _merge_overrides(schema: DictConfig, overrides: Sequence[str]) -> None:
    for override in overrides:
        values = read_override(override)
        if "paper" in values or "preset" in values:
            raise ConfigError(f"command line: {override}: give it as --{override.split('=')[0]}")
        merge(schema, values, "command line")


def flatten(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def scientific(plain: dict[str, Any]) -> dict[str, Any]:
    """The dotted keys that decide a run's result: all but ``MACHINE_KEYS``.

    Data are known by the last name of their path: a copy on a node's own disk is the same data.
    """
    kept = {key: value for key, value in flatten(plain).items() if not is_among(key, MACHINE_KEYS)}
    return {key: Path(value).absolute().name if key in DATA_PATHS and value else value for key, value in kept.items()}


def fingerprint(config: RunConfig) -> str:
    """Six hexadecimal digits of what decides the result: equal runs on different machines share them."""
    text = json.dumps(scientific(to_plain(config)), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _recipe(paper: str) -> tuple[Path, dict[str, Any]]:
    if paper not in PAPERS:
        known = list_papers()
        raise ConfigError(f"no paper {paper!r}{did_you_mean(paper, known)} (papers: {', '.join(known)})")
    file = CONFIGS / f"{paper}.yaml"
    recipe = read_yaml_file(file)
    if not isinstance(recipe, dict):
        raise ConfigError(f"{file}: expected the sections model, optimizer, data, trainer, presets")
    try:
        shown = file.relative_to(Path.cwd())
    except ValueError:
        shown = file
    return shown, recipe


def _presets(recipe: dict[str, Any], file: Path) -> dict[str, dict[str, Any]]:
    presets = recipe.get("presets") or {}
    if not isinstance(presets, dict) or not all(isinstance(values, dict) for values in presets.values()):
        raise ConfigError(f"{file}: presets: is a section, and each preset in it is one")
    return presets


def _check(config: RunConfig) -> None:
    trainer, optimizer = config.trainer, config.optimizer

    def positive(value: int | None) -> bool:
        return value is None or value >= 1

    rules = (
        ("seed", 0 <= config.seed < 2**32, "must lie in [0, 2**32)"),
        ("optimizer.lr", 0 < optimizer.lr < math.inf, "must be positive"),
        ("optimizer.reference_batch", optimizer.reference_batch >= 1, "must be at least 1"),
        ("optimizer.momentum", optimizer.momentum >= 0, "must not be negative"),
        ("optimizer.weight_decay", optimizer.weight_decay >= 0, "must not be negative"),
        ("optimizer.gamma", optimizer.gamma > 0, "must be positive"),
        ("optimizer.warmup_steps", optimizer.warmup_steps >= 0, "must not be negative"),
        ("optimizer.clip_norm", optimizer.clip_norm is None or optimizer.clip_norm > 0, "must be positive, or null"),
        ("trainer.devices", _are_devices(trainer.devices), 'must be a number from 1, auto, or indices such as "0,2"'),
        ("trainer.num_nodes", trainer.num_nodes >= 1, "must be at least 1"),
        ("trainer.max_epochs", trainer.max_epochs >= 1, "must be at least 1"),
        ("trainer.max_steps", trainer.max_steps >= 1 or trainer.max_steps == -1, "must be positive, or -1"),
        ("trainer.accumulate", positive(trainer.accumulate), "must be at least 1, or null"),
        ("trainer.vitals_every_steps", positive(trainer.vitals_every_steps), "must be at least 1, or null"),
        ("trainer.val_every_steps", positive(trainer.val_every_steps), "must be at least 1, or null"),
        ("trainer.checkpoint_every_steps", positive(trainer.checkpoint_every_steps), "must be at least 1, or null"),
        ("trainer.limit_train_batches", positive(trainer.limit_train_batches), "must be at least 1, or null"),
        ("trainer.val_every_epochs", trainer.val_every_epochs >= 1, "must be at least 1"),
        ("trainer.ema_decay", trainer.ema_decay is None or 0 < trainer.ema_decay < 1, "must lie in (0, 1), or be null"),
        ("trainer.max_nan_skips", trainer.max_nan_skips >= 0, "must not be negative"),
        ("trainer.ddp_timeout", trainer.ddp_timeout > 0, "must be positive"),
        ("trainer.log_every_steps", trainer.log_every_steps >= 1, "must be at least 1"),
        ("trainer.precision", trainer.precision in PRECISIONS, f"must be one of {', '.join(PRECISIONS)}"),
        ("name", config.name is None or _is_folder_name(config.name), "must be a plain folder name"),
    )
    for key, holds, rule in rules:
        if not holds:
            raise ConfigError(f"{key}: {rule}, got {flatten(to_plain(config)).get(key)!r}")
    for section in (config.data, config.model):
        if hasattr(section, "validate"):
            try:
                section.validate()
            except ValueError as error:
                raise ConfigError(str(error)) from error


PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")


def _are_devices(devices: int | str) -> bool:
    if isinstance(devices, int):
        return devices >= 1 or devices == -1
    return re.fullmatch(r"auto|-1|\d+(,\d+)*,?", devices) is not None


def _is_folder_name(name: str) -> bool:
    return bool(name) and not name.startswith((".", "-")) and "/" not in name and "\\" not in name
