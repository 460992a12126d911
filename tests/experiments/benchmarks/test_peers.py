"""Peers run on our batches, or say in a phrase why they do not."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from experiments.benchmarks import peers
from experiments.benchmarks.end_to_end import MODELS
from experiments.benchmarks.measuring import Setting
from experiments.benchmarks.peers import PEERS, Peer, padded, peers_of


def batch_of(*shape: int) -> SimpleNamespace:
    """Normalised pictures [B, 3, H, W]."""
    sizes = torch.tensor([shape[-2:]] * shape[0])
    return SimpleNamespace(images=torch.randn(*shape), meta=SimpleNamespace(input_hw=sizes))


def test_the_models_ask_for_peers_there_are() -> None:
    for model in MODELS:
        assert set(model.peers) <= set(PEERS), model.paper
        assert model.against == "peer" or model.against in model.peers, model.paper
        assert model.peers, model.paper


def test_what_is_not_installed_or_does_not_run_is_a_phrase(monkeypatch, capsys) -> None:
    def greets(batch, setting):
        print("welcome")
        return lambda: seen.append(batch)

    def fails(batch, setting):
        raise TypeError("another version")

    seen: list[object] = []
    monkeypatch.setitem(PEERS, "good", Peer(greets))
    monkeypatch.setitem(PEERS, "absent", Peer(fails, ("no_such_package",)))
    monkeypatch.setitem(PEERS, "broken", Peer(fails))
    found, missing = peers_of(("good", "absent", "broken"), "a batch", Setting())
    assert list(found) == ["good"]
    assert seen == ["a batch"]  # tried once
    assert missing == ["absent: not installed", "broken: does not run here (TypeError)"]
    assert capsys.readouterr().out == ""  # it is for JSON
    tried: dict[str, object] = {}
    found, _ = peers_of(("good", "absent"), "another", Setting(), trial=tried.__setitem__)
    assert tried == found
    assert seen == ["a batch"]


def test_pictures_are_padded_right_and_below() -> None:
    images = torch.ones(1, 3, 33, 64)
    assert padded(images).shape == (1, 3, 64, 64)
    assert padded(images).sum() == images.sum()
    assert padded(images[:, :, :32]).shape == (1, 3, 32, 64)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("yolo11m-pose", (2, 3, 40, 64)), ("RTMO-s", (1, 3, 64, 64)), ("MMPose R50", (2, 3, 256, 192))],
)
def test_a_peer_finds_as_many_answers_as_pictures(name: str, shape: tuple[int, ...]) -> None:
    if any(find_spec(package) is None for package in PEERS[name].needs):
        pytest.skip(f"{name} is not installed: make bench-peers")
    found, missing = peers_of((name,), batch_of(*shape), Setting())
    assert missing == []
    assert len(found[name]()) == shape[0]


def test_keypoint_rcnn_looks_at_no_padding() -> None:
    batch = batch_of(1, 3, 64, 64)
    batch.meta.input_hw = torch.tensor([[64, 48]])
    seen = []
    network = torch.nn.Identity()
    network.forward = lambda images: seen.extend(image.shape for image in images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchvision.models.detection.keypointrcnn_resnet50_fpn", lambda **_: network)
        peers.keypoint_rcnn(batch, Setting())()
    assert seen == [(3, 64, 48)]
