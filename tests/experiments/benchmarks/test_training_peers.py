"""Peers' losses are of our batches' people, and reach every weight."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from datamodules.config import RenderedConfig
from datamodules.contracts import Persons, PoseBatch
from datamodules.synthetic import make_dataset
from experiments.benchmarks.end_to_end import batch_of
from experiments.benchmarks.measuring import Setting
from experiments.benchmarks.training_peers import LEARNERS, learners_of, people_of
from experiments.benchmarks.training_step import CASES
from experiments.config import compose

PAPERS = {
    "Keypoint R-CNN": ("inspose", "data.size=64", "data.max_size=64"),
    "SimpleBaseline": ("graph_pcnn", "data.crop_size=[64,64]"),
    "yolo11m-pose": ("inspose", "data.size=64", "data.max_size=64"),
}


def batch_for(name: str, folder: Path) -> PoseBatch:
    make_dataset(folder, RenderedConfig(1, 2, 64), progress=False)
    paper, *overrides = PAPERS[name]
    return batch_of(compose(paper, None, overrides), folder, 2, Setting())


def test_the_cases_ask_for_learners_there_are() -> None:
    for case in CASES:
        assert case.peers
        assert set(case.peers) <= set(LEARNERS), case.paper
    assert set(PAPERS) == set(LEARNERS)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_loss_reaches_every_weight_and_a_step_leaves_nothing(name, tmp_path, monkeypatch) -> None:
    if any(find_spec(package) is None for package in LEARNERS[name].needs):
        pytest.skip(f"{name} is not installed: make bench-peers")
    from torchvision.models import detection

    few = {"rpn_post_nms_top_n_train": 20, "box_batch_size_per_image": 8}
    monkeypatch.setattr(detection, "keypointrcnn_resnet50_fpn", partial(detection.keypointrcnn_resnet50_fpn, **few))
    found, missing = learners_of((name,), batch_for(name, tmp_path), Setting())
    assert missing == []
    learner = found[name]
    loss = learner()
    assert loss.shape == ()
    assert 0 < float(loss.detach()) < torch.inf
    loss.backward()
    assert all(weight.grad is not None for weight in learner.module.parameters() if weight.requires_grad)
    learner.step()
    assert all(weight.grad is None for weight in learner.module.parameters())


def test_people_are_those_with_a_box() -> None:
    boxes = torch.tensor([[[0.0, 0, 8, 8], [4, 4, 4, 9], [1, 2, 3, 4]], [[0, 0, 5, 5], [0, 0, 0, 0], [0, 0, 0, 0]]])
    visibility = torch.tensor([2, 0, 1], dtype=torch.uint8).expand(2, 3, 3)
    real = torch.tensor([[True, True, True], [False, False, False]])
    persons = Persons(torch.full((2, 3, 3, 2), 7.0), visibility, boxes, torch.ones(2, 3), real)
    batch = PoseBatch(torch.zeros(2, 3, 8, 8), persons, ignore=None, instance_masks=None, meta=None)
    first, second = people_of(batch)
    assert first.boxes.tolist() == [[0, 0, 8, 8], [1, 2, 3, 4]]
    assert first.keypoints.tolist() == [[[7, 7, 1], [7, 7, 0], [7, 7, 1]]] * 2
    assert second.boxes.shape == (0, 4)
    assert second.keypoints.shape == (0, 3, 3)
