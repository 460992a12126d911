"""The rows that are counted, and the totals the paper's construction gives."""

import torch

from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.complexity import rows
from lightning_modules.graph_pcnn.config import Config


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
