from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from lightning_modules.ssa.config import Config
from lightning_modules.ssa.network import Network

TABLES = yaml.safe_load((Path(__file__).parents[3] / "experiments/tables/ssa.yaml").read_text())
ROWS = [
    pytest.param(table, row, id=f"{name}: {row['row']}")
    for name, table in TABLES["tables"].items()
    for row in table["rows"]
]


def configured(table: dict[str, Any], row: dict[str, Any]) -> Config:
    dotted = [f"{key}={value}" for key, value in {**table.get("set", {}), **row["set"]}.items()]
    config = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.from_dotlist(dotted))
    built = OmegaConf.to_object(config)
    assert isinstance(built, Config)
    built.backbone.weights = None
    return built


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_row_is_complete(table: dict[str, Any], row: dict[str, Any]) -> None:
    assert set(row["published"]) <= set(table["columns"])
    assert row.get("protocol", table["protocol"]) in TABLES["protocols"]
    assert set(row) <= {"row", "protocol", "set", "set_run", "published"}
    if "set" in row:
        assert set(row["published"]) == set(table["columns"])


def test_our_rows_of_a_table_differ_and_build() -> None:
    for name, table in TABLES["tables"].items():
        ours = [row for row in table["rows"] if "set" in row]
        assert table["baseline"] in [row["row"] for row in ours], name
        configs = [(repr(configured(table, row)), str(row.get("set_run"))) for row in ours]
        assert len(set(configs)) == len(configs), name
    with torch.device("meta"):
        for row in TABLES["tables"]["4"]["rows"] + TABLES["tables"]["5"]["rows"][1:]:
            table = TABLES["tables"]["4"] if row in TABLES["tables"]["4"]["rows"] else TABLES["tables"]["5"]
            Network(configured(table, row), 17)
