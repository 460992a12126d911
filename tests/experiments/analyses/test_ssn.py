"""A checkpoint gets the paper's figures and the numbers behind them."""

import json
from argparse import Namespace

import cv2
import numpy as np
import pytest
import torch

from datamodules.skeleton import COCO, Skeleton
from experiments.analyses.ssn import main, reach
from experiments.analyses.ssn_study import PAIRS, point_pairs
from experiments.config import ConfigError, compose, to_plain
from lightning_modules.ssn.module import SpatialShortcutNetwork
from lightning_modules.ssn.network import feature_shift_modules


@pytest.fixture
def checkpoint(tmp_path, write_coco, person):
    """``checkpoint(*overrides)`` is the file of a network that has learnt nothing, on two people."""
    box = [20.0, 10, 60, 100]
    root = write_coco([person(1, bbox=box), person(2, image_id=2, bbox=box)], {1: (120, 100), 2: (120, 100)})

    def build(*overrides: str, file: str = "sent.ckpt") -> str:
        config = compose("ssn", "smoke", [f"data.root={root}", *overrides])
        torch.manual_seed(0)
        module = SpatialShortcutNetwork(config.model, config.optimizer, COCO)
        for shift in feature_shift_modules(module):
            torch.nn.init.normal_(shift.expand.weight, std=0.1)
        content = {
            "run": {"paper": "ssn", "config": to_plain(config)},
            "hyper_parameters": dict(module.hparams),
            "state_dict": module.state_dict(),
        }
        torch.save(content, tmp_path / file)
        return str(tmp_path / file)

    return build


def options(run: str, **changes) -> Namespace:
    return Namespace(**{"run": run, "images": 1, "out": None, "fsm": 3, "compare": [], "overrides": [], **changes})


INSERTED = "model.feature_shift.insert_step=0"


def test_a_checkpoint_gets_its_figures(checkpoint, tmp_path):
    out = main(options(checkpoint(INSERTED), fsm=2))
    assert out == tmp_path / "analysis"
    pictures = ["contributions.png", "keypoint_offsets.png", "non_local_maps.png", "offsets.png"]
    assert sorted(file.name for file in out.iterdir()) == ["analysis.json", *pictures]
    assert all(cv2.imread(str(out / picture)).std() > 10 for picture in pictures)
    numbers = json.loads((out / "analysis.json").read_text())
    weights = torch.load(tmp_path / "sent.ckpt")["state_dict"]
    offsets = [value for name, value in weights.items() if name.endswith(".offsets")]
    for number, (record, learned) in enumerate(zip(numbers["modules"], offsets, strict=True), 1):
        assert (record["fsm"], record["map_hw"], record["stride"]) == (number, [16, 16], 4)
        assert record["offsets"] == pytest.approx(learned.numpy(), abs=1e-4)
        assert record["mean_length"] == pytest.approx(float(learned.norm(dim=1).mean()), abs=1e-3)
    contributions = numbers["contributions"]
    assert (contributions["fsm"], contributions["crops"]) == (2, 2)
    for kind, channels in (("shifted", 16), ("non_local", 256), ("inputs", 256), ("attention", 16)):
        scores = np.array(contributions["scores"][kind])
        assert scores.shape == (17, channels)
        assert contributions["counts"][kind] == (scores > 0.5).sum(1).tolist()
    points = numbers["non_local_maps"]["points"]
    assert [point["joint"] for point in points] == [joint for pair in PAIRS for joint in pair]
    for point in points:
        looked_from = (np.array(point["position"]) - np.array(point["window"])) / 4
        assert looked_from == pytest.approx(offsets[1].numpy(), abs=1e-3)
        assert point["window_reach_px"] > 0
        assert point["field_reach_px"] > 0


def test_without_shifting_there_are_no_offsets_to_draw(checkpoint, tmp_path):
    main(options(checkpoint(INSERTED, "model.feature_shift.shifting=false"), out=str(tmp_path / "here")))
    assert not list((tmp_path / "here").glob("*offsets.png"))
    numbers = json.loads((tmp_path / "here" / "analysis.json").read_text())
    assert "offsets" not in numbers["modules"][0]
    assert {tuple(place) for place in numbers["non_local_maps"]["points"][0]["window"]} == {
        tuple(numbers["non_local_maps"]["points"][0]["position"])
    }


def test_runs_stand_beside_each_other(checkpoint, tmp_path):
    run = checkpoint(INSERTED)
    others = [
        checkpoint(INSERTED, "model.feature_shift.correlation_attention=none", file="unattended.ckpt"),
        checkpoint(INSERTED, "model.feature_shift.shifting=false", file="unshifted.ckpt"),
    ]
    main(options(run))
    alone = cv2.imread(str(tmp_path / "analysis" / "contributions.png")).shape[1]
    main(options(run, compare=others))
    assert cv2.imread(str(tmp_path / "analysis" / "contributions.png")).shape[1] == pytest.approx(3 * alone, abs=3)
    found = json.loads((tmp_path / "analysis" / "analysis.json").read_text())["contributions"]
    assert [found["run"], *(each["run"] for each in found["compared"])] == [run, *others]
    assert ["attention" in each["counts"] for each in found["compared"]] == [False, True]


@pytest.mark.parametrize(
    ("overrides", "fsm", "message"),
    [
        (["model.feature_shift.insert_step=4"], 3, r"before its feature shifting modules joined .*insert_step=4"),
        (["model.feature_shift.enabled=false"], 3, "model.feature_shift.enabled is false"),
        ([INSERTED], 4, "--fsm 4: this network has modules 1 to 3"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(checkpoint, overrides, fsm, message):
    with pytest.raises(ConfigError, match=message):
        main(options(checkpoint(*overrides), fsm=fsm))


def test_other_skeletons_show_their_first_limbs():
    hand = Skeleton("hand", ("root", "tip", "thumb"), (("root", "tip"), ("root", "thumb")), (0.1, 0.1, 0.1))
    assert point_pairs(hand) == (("root", "tip"), ("root", "thumb"))
    assert point_pairs(COCO) == PAIRS


def test_reach_is_the_weighted_root_mean_square():
    places, weights = np.array([[3.0, 4.0], [0.0, 1.0], [9.0, 9.0]]), np.array([1.0, 3.0, 0.0])
    assert reach(places, weights, np.zeros(2)) == pytest.approx(((25 + 3) / 4) ** 0.5, abs=1e-3)
    assert reach(places, np.zeros(3), np.zeros(2)) is None
