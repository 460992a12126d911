"""The sheet shows where keypoints attend to."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.skeleton import COCO
from experiments.analyses.ssa import MAPS, chosen_keypoints, keypoint_maps, main, paint, rows_of_photograph
from experiments.config import ConfigError, compose, to_plain
from lightning_modules.shared.config import BackboneConfig, OptimizerConfig
from lightning_modules.ssa.attention import QueryKey
from lightning_modules.ssa.config import Config
from lightning_modules.ssa.module import SSA
from lightning_modules.ssa.network import Output


def photograph(visibility: torch.Tensor) -> PoseBatch:
    people = visibility.shape[0]
    keypoints = torch.rand(1, people, 17, 2, generator=torch.Generator().manual_seed(0)) * 60 + 2
    persons = Persons(
        keypoints,
        visibility[None].to(torch.uint8),
        torch.zeros(1, people, 4),
        torch.arange(people, 0, -1).float()[None],
        torch.ones(1, people).bool(),
    )
    hw = torch.tensor([[64, 64]])
    meta = Meta(torch.tensor([0]), torch.tensor([0]), hw, hw, torch.eye(3)[None, :2], torch.ones(1))
    return PoseBatch(torch.randn(1, 3, 64, 64), persons, torch.zeros(1, 16, 16).bool(), None, meta)


def test_a_photograph_gives_two_rows() -> None:
    torch.manual_seed(0)
    config = Config(BackboneConfig("resnet18", weights=None, frozen_stages=0), width=16, feedforward=32, layers=4)
    module = SSA(config, OptimizerConfig(), COCO).eval()
    visibility = torch.zeros(1, 17)
    visibility[0, :3] = 2  # fewer keypoints than maps
    image = np.zeros((64, 64, 3), np.uint8)
    pictures, captions = rows_of_photograph(module, module, photograph(visibility), image, COCO)
    assert len(pictures) == len(captions) == 2 * (MAPS + 1)
    assert all(picture.shape == image.shape for picture in pictures)
    assert captions[1] == "supervised: nose"
    assert captions[MAPS] == ""
    assert captions[MAPS + 1 :][:2] == ["annotated", "naive: nose"]


def test_keypoints_are_taken_from_every_person_in_turn() -> None:
    visibility = torch.zeros(3, 17)
    visibility[0, [0, 5, 16]] = 2
    visibility[2, [9]] = 1
    assert chosen_keypoints(photograph(visibility)).tolist() == [[0, 0], [2, 9], [0, 16], [0, 5]]


def test_attention_is_painted_where_the_cell_attends_to() -> None:
    query, key = torch.zeros(1, 1, 16, 2), torch.zeros(1, 1, 16, 2)
    query[0, 0, 0, 0], key[0, 0, 11, 0] = 20.0, 20.0  # the first cell attends to row 2, column 3
    layer = QueryKey(query, key)
    output = Output(torch.zeros(1, 17, 16, 16), layer, (layer,), (4, 4))
    maps = keypoint_maps((layer,), torch.tensor([[3.0, 5.0]]), output, (64, 64))
    assert maps.shape == (1, 64, 64)
    assert maps[0, 40, 56] == 1
    assert maps[0, :16].max() < 0.01
    picture = paint(np.zeros((60, 60, 3), np.uint8), maps[0], torch.tensor([3.0, 5.0]))
    assert picture.shape == (60, 60, 3)
    assert picture[40, 56, 0] > picture[40, 56, 2]
    assert picture[20, 10, 0] < picture[20, 10, 2]
    assert picture[5, 3].min() > 200


def test_other_runs_are_refused(tmp_path: Path) -> None:
    options = Namespace(run=str(tmp_path), naive=None, images=1, out=None, overrides=[])
    with pytest.raises(ConfigError, match=r"no best\.ckpt"):
        main(options)
    config = to_plain(compose("inspose", "smoke"))
    content = {"run": {"paper": "inspose", "config": config}, "hyper_parameters": {"skeleton": {}}, "state_dict": {}}
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(ConfigError, match="a run of paper inspose, not of ssa"):
        main(options)
