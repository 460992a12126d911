"""What is drawn joint by joint on the host is what each paper draws for a whole batch on the device."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules.config import RenderedConfig
from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from datamodules.synthetic import make_dataset
from experiments.benchmarks.end_to_end import batch_of
from experiments.benchmarks.host_targets import ENCODERS
from experiments.benchmarks.measuring import Setting
from experiments.config import RunConfig, compose
from lightning_modules.graph_pcnn.config import GaussianCenter
from lightning_modules.graph_pcnn.targets import encode_targets as encode_graph_pcnn
from lightning_modules.inspose.targets import encode_targets as encode_inspose
from lightning_modules.openpose_ssal.config import PafOverlap
from lightning_modules.openpose_ssal.parts import parts_of
from lightning_modules.openpose_ssal.targets import encode_targets as encode_openpose
from lightning_modules.ssa.targets import encode_targets as encode_ssa
from lightning_modules.ssn.targets import encode_targets as encode_ssn


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rendered")
    make_dataset(root, RenderedConfig(train_images=1, val_images=4, size=128), progress=False)
    return root


def sample(paper: str, root: Path, *overrides: str) -> tuple[PoseBatch, RunConfig]:
    config = compose(paper, None, list(overrides))
    return batch_of(config, root, 4, Setting()), config


def assert_same(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs)
    for name, one, other in zip(ours._fields, ours, theirs, strict=True):
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype, name
            torch.testing.assert_close(other, one, atol=2e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
            assert one.any() or name == "ignore", f"{name} is empty: nothing is compared"


def test_inspose(rendered: Path) -> None:
    batch, config = sample("inspose", rendered, "data.size=128", "data.max_size=128")
    for model in (config.model, replace(config.model, map_stride=4, disk_keeps_cell=False, ignore_regions=False)):
        assert_same(encode_inspose(batch, model), ENCODERS["inspose"](batch, model))
    nobody = batch._replace(persons=batch.persons._replace(is_real=torch.zeros_like(batch.persons.is_real)))
    found = ENCODERS["inspose"](nobody, config.model)
    assert all(
        one is None or one.equal(other) for one, other in zip(encode_inspose(nobody, config.model), found, strict=True)
    )


def test_graph_pcnn(rendered: Path) -> None:
    batch, _ = sample("graph_pcnn", rendered, "data.crop_size=[128,96]")
    for center in GaussianCenter:
        arguments = (batch.persons, (32, 24), 2.0, center)
        assert_same(encode_graph_pcnn(*arguments), ENCODERS["graph_pcnn"](*arguments))


def test_ssn_ends_its_gaussians_at_three_sigmas(rendered: Path) -> None:
    batch, _ = sample("ssn", rendered, "data.crop_size=[128,96]")
    ours, theirs = (encode(batch.persons, (32, 24), 2.0) for encode in (encode_ssn, ENCODERS["ssn"]))
    assert ours.weight.equal(theirs.weight)
    is_drawn = theirs.heatmap_s4 > 0
    torch.testing.assert_close(theirs.heatmap_s4[is_drawn], ours.heatmap_s4[is_drawn])
    assert is_drawn.sum() > 1000
    assert ours.heatmap_s4[~is_drawn].max() < 0.0112  # exp(-4.5)


def test_ssa(rendered: Path) -> None:
    batch, config = sample("ssa", rendered, "data.size=128")
    arguments = {"grid": (8, 8), "sigma": config.model.sigma}
    assert_same(encode_ssa(batch, **arguments), ENCODERS["ssa"](batch, **arguments))


@pytest.mark.parametrize("overlap", list(PafOverlap))
def test_openpose_ssal(rendered: Path, overlap: PafOverlap) -> None:
    batch, config = sample("openpose_ssal", rendered, "data.size=128")
    parts, model = parts_of(COCO), replace(config.model, paf_overlap=overlap)
    ours, theirs = encode_openpose(batch, parts, model), ENCODERS["openpose_ssal"](batch, parts, model)
    is_tied = ours.on_limb != theirs.on_limb  # a cell on the very border of a limb
    assert is_tied.float().mean() < 1e-4
    kept = ~is_tied[:, :, None]
    assert_same(
        ours._replace(pafs=ours.pafs * kept, on_limb=ours.on_limb & kept[:, :, 0]),
        theirs._replace(pafs=theirs.pafs * kept, on_limb=theirs.on_limb & kept[:, :, 0]),
    )
