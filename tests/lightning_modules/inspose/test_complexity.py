import torch

from datamodules.skeleton import COCO
from lightning_modules.inspose.complexity import rows
from lightning_modules.inspose.config import Config


def test_parameters_of_every_row() -> None:
    expected = {
        "KP-Net, depth 1": 187,
        "KP-Net, depth 2": 241,
        "KP-Net, depth 3": 313,
        "KP-Net, depth 4": 385,
        "R50, inference": 34_829_740,
        "R101, inference": 53_821_868,
        "HRNet-W32, inference": 39_809_900,
        "as configured, inference": 34_829_740,
        "as configured, training": 34_829_740 + 1_219_857,
        "500 KP-Nets": 500 * 313,
        "part: pyramid": 3_868_672,
        "part: classification head": 2_363_649,
        "part: parameter tower": 2_361_344,
        "part: parameter layer": 721_465,
        "part: keypoint features": 747_536,
        "part: disk offsets": 1_259_042,
        "part: auxiliary heatmap": 1_219_857,
    }
    with torch.device("meta"):
        found = {row.row: row.build().parameters for row in rows(Config(), COCO)}
    assert found == expected


def test_a_branch_that_is_switched_off_counts_nothing() -> None:
    with torch.device("meta"):
        counted = {row.row: row.build for row in rows(Config(heatmap=False), COCO)}
        assert counted["part: auxiliary heatmap"]().parameters == 0
        training = counted["as configured, training"]().parameters
        assert training == counted["as configured, inference"]().parameters == 34_829_740
