"""Decoding by itself is what inference says, and decoding one by one finds the same people."""

from functools import partial
from importlib.util import find_spec
from unittest.mock import patch

import pytest
import torch
from torch import nn

from datamodules.config import RenderedConfig
from datamodules.synthetic import make_dataset
from experiments.benchmarks import decoding
from experiments.benchmarks.decoding import FORMS, READERS, READING, Once, Recorded, decoding_of_truth, one_by_one
from experiments.benchmarks.end_to_end import batch_of, module_of
from experiments.benchmarks.measuring import Setting
from experiments.benchmarks.peers import peers_of
from experiments.config import compose
from lightning_modules.inspose.decode import read_keypoints
from lightning_modules.papers import PAPERS
from lightning_modules.shared.peaks import quarter_peaks

QUICK = Setting()
TINY = "model.backbone={name: resnet18, weights: null, frozen_stages: 0}"
SMALL = {
    "inspose": ("smoke", ("data.size=64", "data.max_size=64", "model.score_threshold=0", "model.max_candidates=5")),
    "ssn": ("smoke", ()),
    "graph_pcnn": ("smoke", (TINY,)),
    "ssa": ("smoke", ("data.size=128",)),
    "openpose_ssal": ("smoke", ()),
}


@pytest.mark.parametrize("paper", SMALL)
def test_every_paper_decodes_the_same_again_and_one_by_one(paper, tmp_path):
    make_dataset(tmp_path, RenderedConfig(1, 2, 128), progress=False)
    preset, overrides = SMALL[paper]
    config = compose(paper, preset, list(overrides))
    batch, module = batch_of(config, tmp_path, 2, QUICK), module_of(config, QUICK)
    ours = partial(module.predict_step, batch, 0)
    recorded, expected = Recorded(module.network, ours), ours()
    assert recorded.answers
    truth = decoding_of_truth(module, batch)
    run = partial(recorded.again, ours) if truth is None else truth
    with patch.object(type(module.network), "forward", side_effect=AssertionError("the network computes")):
        again, plain, last = run(), one_by_one(module, run), run()
    if truth is None:
        torch.testing.assert_close(again.keypoints, expected.keypoints)
    torch.testing.assert_close(last.keypoints, again.keypoints)
    assert again.is_valid.any()
    torch.testing.assert_close(plain.scores, again.scores[:, : plain.scores.shape[1]])
    if paper != "openpose_ssal":  # whose plain form is after scores alone
        torch.testing.assert_close(plain.keypoints, again.keypoints, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("paper", SMALL)
def test_every_plain_form_is_asked(paper, tmp_path, monkeypatch):
    make_dataset(tmp_path, RenderedConfig(1, 1, 128), progress=False)
    preset, overrides = SMALL[paper]
    config = compose(paper, preset, list(overrides))
    batch, module = batch_of(config, tmp_path, 1, QUICK), module_of(config, QUICK)
    asked = []

    def noted(name, form):
        def call(*given, **options):
            asked.append(name)
            return form(*given, **options)

        return call

    forms = {name: noted(name, form) for name, form in FORMS[paper].items()}
    monkeypatch.setitem(FORMS, paper, forms)
    one_by_one(module, decoding_of_truth(module, batch) or partial(module.predict_step, batch, 0))
    assert set(asked) == set(forms) - {"decode.body_first"}  # the paper's choice is part-first


def test_quarters_of_each_are_the_same_at_borders_too():
    torch.manual_seed(0)
    maps = torch.rand(2, 40, 4, 3)
    for ours, theirs in zip(quarter_peaks(maps), decoding.quarter_of_each(maps), strict=True):
        torch.testing.assert_close(theirs, ours)


@pytest.mark.parametrize("has_offsets", [False, True])
def test_peaks_of_each_are_the_same(has_offsets):
    torch.manual_seed(0)
    maps, inside = torch.randn(2, 3, 4, 5, 6), torch.rand(2, 5, 6) < 0.6
    offsets = torch.randn(2, 4, 2, 5, 6) if has_offsets else None
    plain = decoding.peaks_of_each(maps, inside, offsets, 4)
    torch.testing.assert_close(plain, read_keypoints(maps.clone(), inside, offsets, 4))


def test_answers_come_again_in_their_order():
    network = nn.Linear(1, 1)
    recorded = Recorded(network, lambda: [network(torch.ones(1, 1) * value) for value in (1, 2)])
    with torch.no_grad():
        network.weight.zero_()
    again = recorded.again(lambda: [network(torch.zeros(1, 1)) for _ in range(2)])
    assert again == recorded.answers
    assert network(torch.ones(1, 1)) == network.bias  # itself again


def test_once_is_once():
    counts = iter(range(5))
    once = Once(lambda: next(counts))
    assert [once(), once()] == [0, 0]


def test_every_paper_has_a_reader_or_a_reason():
    assert set(FORMS) == set(decoding.CONTENTS) == set(decoding.ONE_BY_ONE) == set(READERS) == set(SMALL) <= set(PAPERS)
    for paper, names in READERS.items():
        assert set(names) <= set(READING)
        assert bool(names) != (paper in decoding.NOBODYS)


def test_readers_read_what_a_batch_has(tmp_path):
    make_dataset(tmp_path, RenderedConfig(1, 1, 128), progress=False)
    preset, overrides = SMALL["inspose"]
    batch = batch_of(compose("inspose", preset, list(overrides)), tmp_path, 1, QUICK)
    names = tuple(name for name, peer in READING.items() if all(find_spec(package) for package in peer.needs))
    found, missing = peers_of(names, batch, QUICK, READING)
    assert missing == []
    assert list(found) == list(names)
    points, _ = found["Keypoint R-CNN's maps of as many people"]()
    assert points[0].shape == (20, 17, 3)
    if "MMPose's codec of averaged heatmaps" in found:
        assert found["MMPose's codec of averaged heatmaps"]()[0][0].shape == (1, 17, 2)
