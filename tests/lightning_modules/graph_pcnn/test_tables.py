"""Every row of the paper's tables composes, builds what it says, and differs from its baseline."""

import pytest
import torch

from datamodules.skeleton import COCO
from experiments.config import compose, fingerprint
from experiments.tables.loader import load_tables
from experiments.tables.overrides import row_overrides
from lightning_modules.graph_pcnn.config import Decoding, Refinement
from lightning_modules.graph_pcnn.guided_points import GuidedPointSampler
from lightning_modules.graph_pcnn.network import Network

TABLES = load_tables("graph_pcnn")


def _batch(model, sigma):
    """Of the bases' own configurations, which differ from 128 where HRNets see 384×288."""
    if sigma < 3 or "hrnet" not in model.backbone.name:
        return 128
    is_w48, is_dark = "w48" in model.backbone.name, model.decoding is Decoding.dark
    return {(False, False): 128, (False, True): 112, (True, False): 96, (True, True): 72}[is_w48, is_dark]


@pytest.mark.parametrize("number", TABLES)
def test_rows_compose_and_differ(number):
    table = TABLES[number]
    found = {}
    for row in table.ours:
        config = compose("graph_pcnn", None, row_overrides(table, row, None))
        sizes = {(128, 96): (1.0, 48), (256, 192): (2.0, 192), (384, 288): (3.0, 432)}
        sigma, points = sizes[tuple(config.data.crop_size)]
        batch = _batch(config.model, sigma)
        assert batch % config.data.batch_size == 0
        assert (config.model.sigma, config.optimizer.reference_batch) == (sigma, batch)
        assert config.model.num_points == points or number == "figure 5b"
        assert sum(GuidedPointSampler.from_config(config.model).counts) == config.model.num_points
        assert config.trainer.max_epochs == (210 if "hrnet" in config.model.backbone.name else 140)
        found[row.name] = fingerprint(config)
    assert len(set(found.values())) == len(found)


def test_the_backbones_and_variants_of_the_tables_build():
    seen = set()
    for table in TABLES.values():
        for row in table.ours:
            model = compose("graph_pcnn", None, row_overrides(table, row, None)).model
            model.backbone.weights = None
            if (key := (model.backbone.name, model.refinement)) not in seen:
                seen.add(key)
                with torch.device("meta"):
                    Network(model, COCO.limb_indices, COCO.num_keypoints)
    assert {refinement for _, refinement in seen} == set(Refinement)
    resnets = {f"resnet{depth}.tv_in1k" for depth in (50, 101, 152)}
    assert {name for name, _ in seen} == resnets | {"hrnet_w32.ms_in1k", "hrnet_w48.ms_in1k"}
