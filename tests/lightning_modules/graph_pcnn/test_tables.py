"""Every row of the paper's tables composes, builds what it says, and differs from its baseline."""

from pathlib import Path

import pytest
import torch
import yaml

from datamodules.skeleton import COCO
from experiments.config import compose, fingerprint
from lightning_modules.graph_pcnn.config import Refinement
from lightning_modules.graph_pcnn.guided_points import GuidedPointSampler
from lightning_modules.graph_pcnn.network import Network

TABLES = yaml.safe_load((Path(__file__).parents[3] / "experiments/tables/graph_pcnn.yaml").read_text())["tables"]


def overrides(row):
    flat = {f"model.{key}": value for key, value in row["set"].items()} | row["set_run"]
    return [f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in flat.items()]


@pytest.mark.parametrize("name", TABLES)
def test_rows_compose_and_differ(name):
    found = {}
    for row in TABLES[name]["rows"]:
        if "set" in row:
            config = compose("graph_pcnn", None, overrides(row))
            sizes = {(128, 96): (1.0, 48), (256, 192): (2.0, 192), (384, 288): (3.0, 432)}
            sigma, points = sizes[tuple(config.data.crop_size)]
            assert config.model.sigma == sigma
            assert config.model.num_points == points or name == "figure 5b"
            assert sum(GuidedPointSampler.from_config(config.model).counts) == config.model.num_points
            found[row["row"]] = fingerprint(config)
        assert set(row.get("published", {})) <= set(TABLES[name]["columns"])
    assert TABLES[name]["baseline"] in {row["row"] for row in TABLES[name]["rows"]}
    assert len(set(found.values())) == len(found)


def test_the_backbones_and_variants_of_the_tables_build():
    seen = set()
    for table in TABLES.values():
        for row in table["rows"]:
            if "set" not in row:
                continue
            model = compose("graph_pcnn", None, overrides(row)).model
            model.backbone.weights = None
            if (key := (model.backbone.name, model.refinement)) not in seen:
                seen.add(key)
                with torch.device("meta"):
                    Network(model, COCO.limb_indices, COCO.num_keypoints)
    assert {refinement for _, refinement in seen} == set(Refinement)
    assert {name for name, _ in seen} == {"resnet50", "resnet101", "resnet152", "hrnet_w32", "hrnet_w48"}
