from argparse import Namespace

import cv2
import numpy as np
import pytest
import torch

from datamodules.skeleton import COCO
from experiments.analyses.openpose_ssal import darken, main, overlay, overlay_field
from experiments.config import ConfigError, compose, to_plain
from lightning_modules.openpose_ssal.module import OpenPoseSsal

PICTURE = np.full((16, 24, 3), 100, np.uint8)


@pytest.fixture
def run(tmp_path, write_coco, person):
    """The folder of a run that has not learnt anything, on two photographs."""
    root = write_coco(
        [person(1, bbox=[60.0, 20, 60, 100]), person(2, image_id=2, bbox=[60.0, 20, 60, 100])],
        {1: (140, 180), 2: (140, 180)},
    )
    config = compose("openpose_ssal", "smoke", [f"data.root={root}"])
    folder = tmp_path / "run"
    folder.mkdir()
    module = OpenPoseSsal(config.model, config.optimizer, COCO)
    content = {
        "run": {"paper": "openpose_ssal", "config": to_plain(config)},
        "hyper_parameters": dict(module.hparams),
        "state_dict": module.state_dict(),
    }
    torch.save(content, folder / "best.ckpt")
    return folder


def test_a_run_gets_its_figures(run, tmp_path):
    out = main(Namespace(run=str(run), out=str(tmp_path / "figures"), images=1, overrides=[]))
    assert sorted(file.name for file in out.iterdir()) == ["cost.png", "stages-1.jpg", "weights-1.jpg"]
    stages, weights = (cv2.imread(str(out / f"{name}-1.jpg")) for name in ("stages", "weights"))
    # Two stages, the target and one plain picture beside each row; the weights: truth, five limbs, all limbs.
    assert stages.shape[1] == 4 * (260 + 4) + 4
    assert weights.shape[1] == 7 * (260 + 4) + 4
    assert stages.std() > 20


def test_what_is_no_run_of_this_paper_is_refused(run, tmp_path):
    (run / "best.ckpt").unlink()
    with pytest.raises(ConfigError, match=r"best\.ckpt"):
        main(Namespace(run=str(run), out=None, images=1, overrides=[]))
    with pytest.raises(ConfigError):
        main(Namespace(run=str(tmp_path), out=None, images=1, overrides=[]))


def test_overlays_show_where_a_map_is_high():
    peak = torch.zeros(2, 3)
    peak[0, 0] = 1.0
    shown = overlay(PICTURE, peak).astype(int)
    assert shown[3, 3].sum() > shown[12, 20].sum() + 100
    field = torch.zeros(2, 2, 3)
    assert overlay_field(PICTURE, field).tolist() == PICTURE.tolist()
    field[0] = 1.0  # to the right: red
    red, green, blue = overlay_field(PICTURE, field)[8, 12].tolist()
    assert red > 200 > green
    assert green == blue
    dark = darken(PICTURE, 1 - peak)
    assert dark[0, 0].tolist() == [0, 0, 0]
    assert dark[15, 23].tolist() == [100, 100, 100]
