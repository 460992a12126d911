"""The rows that are counted, and the totals the paper's construction gives."""

import torch

from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.complexity import rows
from lightning_modules.graph_pcnn.config import Config
from lightning_modules.shared.config import BackboneConfig


def test_the_counts_of_all_rows():
    counted = {}
    for row in rows(Config(), COCO):
        if row.row.split(",")[0] in ("R50", "HRNet-W32", "HRNet-W48", "configured model"):
            with torch.device("meta"):
                counted[row.row] = row.build().parameters
    assert counted["R50, base"] == 33_999_697
    assert counted["R50, both feature maps"] == 59_451_729
    assert counted["HRNet-W32, base"] == 28_536_113
    assert counted["HRNet-W32, both feature maps"] == 48_943_345
    assert counted["HRNet-W48, base"] == 63_595_745
    assert counted["HRNet-W48, both feature maps"] == 109_489_793
    assert counted["R50, graph convolution"] == 3_608_832
    assert counted["HRNet-W32, graph convolution"] == 454_912
    # Per keypoint two layers 256 -> 256 with batch norm, then two layers 256 -> 2.
    head = 17 * (2 * (256 * 256 + 256 + 2 * 256) + 2 * (256 * 2 + 2))
    assert counted["R50, head"] == counted["HRNet-W32, head"] == head
    assert counted["configured model"] == counted["R50, both feature maps"] + 3_608_832 + head


def test_the_whole_model_is_counted_on_the_meta_device():
    config = Config(backbone=BackboneConfig(name="resnet18", weights=None, frozen_stages=0))
    row = rows(config, COCO)[-1]
    with torch.device("meta"):
        countable = row.build()
        countable.forward()
    assert row.row == "configured model"
    assert countable.parameters > 11_000_000
