"""The sheet shows what the module says of a crop."""

from argparse import Namespace

import numpy as np
import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.skeleton import COCO
from experiments.analyses.graph_pcnn import COLUMNS, draw_points, main, pictures_of_crop
from experiments.config import ConfigError, compose, to_plain
from lightning_modules.graph_pcnn.config import Config
from lightning_modules.graph_pcnn.module import GraphPCNN
from lightning_modules.shared.config import BackboneConfig, OptimizerConfig


def crop():
    keypoints = torch.rand(1, 1, 17, 2, generator=torch.Generator().manual_seed(0)) * 60 + 2
    persons = Persons(
        keypoints,
        torch.full((1, 1, 17), 2, dtype=torch.uint8),
        torch.tensor([[[0.0, 0.0, 64.0, 64.0]]]),
        torch.ones(1, 1),
        torch.ones(1, 1).bool(),
    )
    hw, affine = torch.tensor([[64, 64]]), torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    meta = Meta(torch.tensor([0]), torch.tensor([0]), hw, hw, affine, torch.ones(1))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return PoseBatch(images, persons, torch.zeros(1, 16, 16).bool(), None, meta)


def test_a_crop_gives_a_row():
    torch.manual_seed(0)
    backbone = BackboneConfig(name="hrnet_w18_small", weights=None, frozen_stages=0)
    config = Config(backbone=backbone, refinement_channels=8, sigma=1.0, num_points=12)
    module = GraphPCNN(config, OptimizerConfig(), COCO).eval()
    image = np.zeros((64, 64, 3), np.uint8)
    pictures, captions = pictures_of_crop(module, crop(), image, joint=0)
    assert len(pictures) == len(captions) == COLUMNS
    assert {picture.shape for picture in pictures} == {(320, 320, 3)}
    pose = module.estimate(module.network, crop().images)
    for caption, stage, position in zip(captions[-2:], (1, 2), (pose.stage1, pose.stage2), strict=True):
        error = (4 * position - crop().persons.keypoints[:, 0]).norm(dim=-1).mean()
        assert caption == f"stage {stage}: {error:.2f} px off"


def test_points_and_response_lie_where_the_frame_says():
    """Index u of the map is input coordinate 4 u: a response at (5, 3) peaks at pixel (20, 12)."""
    response = torch.zeros(16, 16)
    response[3, 5] = 1.0
    far = torch.tensor([[14.0, 14.0]])
    picture = draw_points(np.zeros((64, 64, 3), np.uint8), response, far, torch.tensor([0.0, 15.0]))
    red = picture[:50, :50, 0].astype(float) - picture[:50, :50, 2]
    y, x = np.unravel_index(red.argmax(), red.shape)
    assert (abs(x - 19.5), abs(y - 11.5)) <= (1.0, 1.0)
    assert picture[56, 56].tolist() == [255, 220, 0]


def test_other_runs_are_refused(tmp_path):
    options = Namespace(run=str(tmp_path), images=1, out=None, overrides=[])
    with pytest.raises(ConfigError, match=r"no best\.ckpt"):
        main(options)
    config = compose("graph_pcnn", "smoke", ["model.refinement=none"])
    module = GraphPCNN(config.model, config.optimizer, COCO)
    content = {
        "run": {"paper": "graph_pcnn", "config": to_plain(config)},
        "hyper_parameters": dict(module.hparams),
        "state_dict": module.state_dict(),
    }
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(ConfigError, match="nothing to refine"):
        main(options)
