"""What leaves as a graph says what PyTorch says, and the file tells what it holds."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch, last_stage
from experiments.checkpoint import load_trained
from experiments.export import main
from experiments.exporting import graph
from lightning_modules.shared.exportable import Exportable

DECODED = {
    "ssn": ["keypoints"],
    "graph_pcnn": ["keypoints"],
    "ssa": ["points", "scores", "cells", "attention"],
    "openpose_ssal": ["heatmaps", "pafs", "offsets"],
    "inspose": ["scores", "parameters", "kp_features_s8", "disk_offsets_s8"],
}
SETTINGS = {
    "ssn": ["model.feature_shift.insert_step=0", "model.decode.flip_test=false"],
    "graph_pcnn": ["model.flip_test=false"],
    "inspose": ["model.backbone.name=resnet10t", "model.tower_depth=1", "model.feature_depth=1"],
    "ssa": ["model.backbone.name=resnet10t", "model.layers=2", "model.supervised_layer=1"],
}
"""Every kind of layer of the smoke model once: to write a graph takes as long as it has nodes."""


@pytest.fixture(scope="module", autouse=True)
def shallow_hrnet() -> Iterator[None]:
    """One block a branch: an HRNet's fusions are what no other network has."""
    from timm.models import hrnet

    with pytest.MonkeyPatch.context() as patch:
        for branches in (2, 3, 4):
            stage = hrnet.cfg_cls["hrnet_w18_small"][f"stage{branches}"]
            patch.setitem(stage, "num_blocks", (1,) * branches)
        yield


@pytest.fixture(scope="module")
def checkpoint(save_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("checkpoints")

    @cache
    def write(paper: str) -> Path:
        """Random weights; those that start at zero drawn too, so that every part has a say."""
        file = save_checkpoint(folder, paper, *SETTINGS.get(paper, []))
        content = torch.load(file, weights_only=True)
        for name, value in content["state_dict"].items():
            if name.endswith(".expand.weight"):
                value.normal_(std=0.1)
        torch.save(content, file)
        return file

    return write


@pytest.fixture
def followed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network of ``openpose_ssal`` is followed by the first test that asks for it; its weights are the same."""
    follow = graph.follow

    def follow_or_remember(exportable: Exportable) -> torch.export.ExportedProgram:
        if not exportable.about.startswith("network alone"):
            return follow(exportable)
        if "network" not in FOLLOWED:
            FOLLOWED["network"] = follow(exportable)
        return FOLLOWED["network"]

    monkeypatch.setattr(graph, "follow", follow_or_remember)


FOLLOWED: dict[str, torch.export.ExportedProgram] = {}


@pytest.mark.parametrize("paper", DECODED)
def test_onnx_equals_pytorch(
    checkpoint: Callable[[str], Path], paper: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    file = tmp_path / "made" / "graph.onnx"
    assert main(["--checkpoint", str(checkpoint(paper)), "--format", "onnx", "--out", str(file), "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert report["difference"] <= 1e-4
    assert report["given_up"] == []
    assert len({tuple(row["shape"]) for row in report["parity"]}) == 3
    assert list(report["about"]["outputs"]) == DECODED[paper]
    graph = onnx.load(file)
    told = {entry.key: json.loads(entry.value) for entry in graph.metadata_props if entry.key in report["about"]}
    assert told == report["about"]
    assert [output.name for output in graph.graph.output] == DECODED[paper]


@pytest.mark.usefixtures("followed_once")
def test_torch_export_and_a_file_that_is_not_equal(
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "graph.pt2"
    arguments = ["--checkpoint", str(checkpoint("openpose_ssal")), "--format", "torch", "--out", str(file)]
    assert main(arguments) == 0
    assert "network alone" in capfd.readouterr().out
    extra = {"about.json": ""}
    torch.export.load(file, extra_files=extra)
    assert json.loads(extra["about.json"])["paper"] == "openpose_ssal"
    run = graph.run_torch
    monkeypatch.setitem(
        graph.RUNNERS, "torch", lambda file: lambda images: [value + 1e-2 for value in run(file)(images)]
    )
    assert main(arguments) == 1
    assert "not equal to PyTorch within 0.0001" in capfd.readouterr().err


class Stub(torch.nn.Module):
    """A network of one layer that gives heatmaps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 17, 4, stride=4)

    def forward(self, images: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(heatmap_s4=self.layer(images).sigmoid())


def test_the_mirror_image_goes_into_the_graph(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from datamodules.skeleton import COCO
    from lightning_modules.ssn.config import Config
    from lightning_modules.ssn.export import Keypoints

    torch.manual_seed(0)
    config = Config()
    assert config.decode.flip_test
    keypoints = Keypoints(SimpleNamespace(config=config, skeleton=COCO), Stub())
    exportable = Exportable(keypoints, {"keypoints": "[B, K, 3]"}, "decoding", 32)
    graph.write_onnx(graph.follow(exportable), {"outputs": exportable.outputs}, tmp_path / "graph.onnx")
    rows = graph.parity(exportable, graph.run_onnx(tmp_path / "graph.onnx"))
    assert max(row.difference for row in rows) <= 1e-4


def crops(height: int, width: int) -> PoseBatch:
    """Two crops that are their own photographs."""
    two, hw = torch.arange(2), torch.tensor([[height, width]] * 2)
    return PoseBatch(
        torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(3)),
        Persons(
            torch.zeros(2, 1, 17, 2),
            torch.zeros(2, 1, 17, dtype=torch.uint8),
            torch.zeros(2, 1, 4),
            torch.zeros(2, 1),
            torch.ones(2, 1, dtype=torch.bool),
        ),
        torch.zeros(2, 1, 1, dtype=torch.bool),
        None,
        Meta(two, two, hw, hw, torch.eye(3)[:2].expand(2, 2, 3), torch.ones(2)),
    )


@pytest.mark.parametrize("paper", ["ssn", "graph_pcnn"])
@torch.no_grad()
def test_the_decoding_inside_is_the_modules(checkpoint: Callable[[str], Path], paper: str) -> None:
    from lightning_modules.papers import load

    flip = {"ssn": "model.decode.flip_test=true", "graph_pcnn": "model.flip_test=true"}
    trained = load_trained(checkpoint(paper), [flip[paper]])
    fullest = load(f"lightning_modules.{paper}.export:exportables")(trained.module)[0]
    batch = crops(64, 96)
    expected = last_stage(trained.module.predict(batch)).keypoints[:, 0]
    torch.testing.assert_close(fullest.module(batch.images)[0], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures("followed_once")
def test_a_graph_that_cannot_be_followed_gives_way_to_the_next(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_modules.openpose_ssal import export

    trained, file = load_trained(checkpoint("openpose_ssal")), tmp_path / "graph.pt2"
    (network,) = export.exportables(trained.module)

    class Counts(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (images[: int((images > 0).sum().item()) % 2],)

    fuller = network._replace(module=Counts(), about="network and assembly")
    monkeypatch.setattr(export, "exportables", lambda module: [fuller])
    with pytest.raises(graph.ExportError, match="openpose_ssal cannot be exported: not exported: network and a"):
        graph.export(trained, "torch", file)
    monkeypatch.setattr(export, "exportables", lambda module: [fuller, network])
    exported = graph.export(trained, "torch", file)
    assert exported.exportable is network
    assert exported.given_up[0].startswith("not exported: network and assembly (")


def test_what_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--checkpoint", str(tmp_path / "none"), "--format", "torch"]) == 2
    assert "no such file" in capsys.readouterr().err
    monkeypatch.setattr(graph, "find_spec", lambda name: None if name == "onnxscript" else object())
    assert main(["--checkpoint", str(tmp_path / "none"), "--format", "onnx"]) == 2
    assert "ONNX needs onnxscript: pip install 'pose-papers[export]'" in capsys.readouterr().err


def test_where_nothing_can_be_written_is_told_first(
    checkpoint: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for out, message in (
        (tmp_path, f"error: {tmp_path}: is a folder; give --out a file, as {tmp_path / 'ssn.pt2'}"),
        (
            tmp_path / "file" / "ssn.pt2",
            f"error: {tmp_path / 'file'}: cannot be made a folder (File exists); set --out",
        ),
    ):
        assert main(["--checkpoint", str(checkpoint("ssn")), "--format", "torch", "--out", str(out)]) == 2
        assert capsys.readouterr().err.strip() == message
