"""The model section of a row, for tests that build it small."""

from typing import Any

from omegaconf import OmegaConf

from experiments.tables.table import Row


def model_of(row: Row) -> dict[str, Any]:
    """What a row sets in the model section, settings and switches, nested; without the keys it is silent on."""
    values = OmegaConf.create()
    for key, value in {**row.settings, **(row.switches or {})}.items():
        if key.startswith("model."):
            OmegaConf.update(values, key.removeprefix("model."), value, force_add=True)
    plain = OmegaConf.to_container(values)
    assert isinstance(plain, dict)
    return plain
