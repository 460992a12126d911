"""A checkpoint is enough: paper, configuration, skeleton and weights come out of it."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from datamodules.skeleton import COCO
from experiments.checkpoint import CheckpointError, load_trained
from experiments.config import ConfigError
from experiments.run import main as run


@pytest.fixture
def run_folder(toy, tiny_coco, tmp_path):
    """A run of one epoch."""
    arguments = ["--paper", "toy", "--preset", "brief", "--name", "one", f"data.root={tiny_coco}"]
    assert run([*arguments, f"output.root={tmp_path / 'runs'}", "output.pictures=0"]) == 0
    return tmp_path / "runs" / "toy" / "one"


def test_a_run_comes_back_from_its_checkpoint_alone(run_folder, tiny_coco, tmp_path):
    weights = torch.load(run_folder / "best.ckpt", weights_only=True)["state_dict"]
    elsewhere = tmp_path / "sent.ckpt"
    shutil.copy(run_folder / "best.ckpt", elsewhere)
    for source in (run_folder, elsewhere):
        trained = load_trained(source)
        assert trained.file == (elsewhere if source is elsewhere else run_folder / "best.ckpt")
        assert trained.skeleton == COCO
        assert trained.config.paper == "toy"
        assert trained.config.data.root == str(tiny_coco)
        assert not trained.module.training
        for name, value in trained.module.state_dict().items():
            assert torch.equal(value, weights[name])
    assert trained.module.network.bias.abs().max() < 12  # not as it was made: it has learnt


def test_overrides_change_the_data_not_the_weights(run_folder):
    trained = load_trained(run_folder, ["data.root=elsewhere", "data.val_batch_size=3"])
    assert (trained.config.data.root, trained.config.data.val_batch_size) == ("elsewhere", 3)
    with pytest.raises(ConfigError, match=r"data\.rot: no such key; did you mean data\.root"):
        load_trained(run_folder, ["data.rot=elsewhere"])
    with pytest.raises(ConfigError, match=r"data\.val_batch_size: must be at least 1"):
        load_trained(run_folder, ["data.val_batch_size=0"])
    with pytest.raises(CheckpointError, match="a run of paper toy, not of ssn"):
        load_trained(run_folder, paper="ssn")


def test_weights_that_do_not_fit_are_told_by_the_override(tmp_path):
    from experiments.config import compose, to_plain
    from lightning_modules.ssn.module import SpatialShortcutNetwork

    config = compose("ssn", "smoke")
    module = SpatialShortcutNetwork(config.model, config.optimizer, COCO)
    plain = to_plain(config)
    plain["model"]["backbone"]["weights"] = "imagenet"
    content = {"run": {"paper": "ssn", "config": plain}, "hyper_parameters": dict(module.hparams)}
    torch.save({**content, "state_dict": module.state_dict()}, tmp_path / "x.ckpt")
    assert load_trained(tmp_path / "x.ckpt", ["model.decode.flip_test=false"]).config.model.backbone.weights is None
    with pytest.raises(CheckpointError, match=r"do not fit model\.feature_shift\.channels=8 .*: size") as caught:
        load_trained(tmp_path / "x.ckpt", ["model.feature_shift.channels=8", "model.decode.flip_test=false"])
    assert "\n" not in str(caught.value)


class Code:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_what_is_no_checkpoint_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Path("x.ckpt")
    with pytest.raises(CheckpointError, match=r"^x\.ckpt: no such file$"):
        load_trained(file)
    with pytest.raises(CheckpointError, match=r"no run: it has no best\.ckpt$"):
        load_trained(tmp_path)
    Path("last.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"the run is not evaluated yet; give .*/last\.ckpt$"):
        load_trained(tmp_path)
    for content in (b"", b"hello", os.urandom(300)):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"^x\.ckpt is damaged or no checkpoint"):
            load_trained(file)
    torch.save({"weights": torch.zeros(1000)}, file)
    whole = file.read_bytes()
    with pytest.raises(CheckpointError, match=r"^x\.ckpt: not a checkpoint that .* wrote"):
        load_trained(file)
    for cut in (-200, 300):
        file.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=r"^x\.ckpt is damaged"):
            load_trained(file)
    torch.save({"run": Code()}, file)
    with pytest.raises(CheckpointError, match=r"^x\.ckpt holds more than plain data"):
        load_trained(file)
    assert not Path("pwned").exists()
    torch.save({"run": {"paper": "gone", "config": {}}, "state_dict": {}, "hyper_parameters": {"skeleton": {}}}, file)
    with pytest.raises(CheckpointError, match="paper 'gone', which this version does not have"):
        load_trained(file)
