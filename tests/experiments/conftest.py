"""A paper and a data set small enough to train in a second."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def tiny_coco(tmp_path: Path) -> Path:
    """Ten training and seven validation images with two people each, of sizes around COCO's ``medium``."""
    root = tmp_path / "tiny"
    generator = np.random.default_rng(0)
    for split, count in (("train2017", 10), ("val2017", 7)):
        (root / split).mkdir(parents=True)
        (root / "annotations").mkdir(exist_ok=True)
        annotations = []
        for image_id in range(1, count + 1):
            pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / f"{image_id}.png")
            annotations += [_person(10 * image_id + number, image_id, generator) for number in range(2)]
        images = [{"id": n, "file_name": f"{n}.png", "height": 64, "width": 64} for n in range(1, count + 1)]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
        (root / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(content))
    return root


def _person(number: int, image_id: int, generator: np.random.Generator) -> dict[str, Any]:
    size = float(generator.uniform(15, 40))
    x, y = generator.uniform(0, 64 - size, 2).tolist()
    points = generator.uniform(0, size, (17, 2)).round(1) + np.array([x, y])
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x, y, size, size],
        "area": 0.9 * size * size,
        "keypoints": np.concatenate([points, np.full((17, 1), 2)], 1).reshape(-1).tolist(),
        "num_keypoints": 17,
        "segmentation": [[x, y, x + size, y, x + size, y + size, x, y + size]],
    }


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module ``toy_paper``, its paper registered for this test."""
    from experiments import config
    from experiments.training.run_directory import DIRECTORY_VARIABLE
    from lightning_modules import papers

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv(DIRECTORY_VARIABLE, "")  # main() sets it: restored with the test's end
    monkeypatch.setattr(config, "CONFIGS", tmp_path)
    monkeypatch.setattr(papers, "PAPERS", papers.PAPERS)
    monkeypatch.setitem(papers.PAPERS, "toy", papers.Paper("A toy", "toy_paper:Config", "toy_paper:Toy"))
    module = importlib.import_module("toy_paper")
    module.register(tmp_path)
    yield module
    sys.modules.pop("toy_paper", None)


@pytest.fixture(scope="session")
def save_checkpoint() -> Callable[..., Path]:
    """``save_checkpoint(folder, "ssn", "data.root=…")``: a smoke-sized checkpoint with random weights."""

    def save(folder: Path, paper: str, *overrides: str, preset: str = "smoke") -> Path:
        import torch

        from datamodules.skeleton import COCO
        from experiments.config import compose, to_plain
        from lightning_modules.papers import PAPERS, load

        config = compose(paper, preset, ["data.num_workers=0", *overrides])
        torch.manual_seed(0)
        module = load(PAPERS[paper].module)(config.model, config.optimizer, COCO)
        content = {"run": {"paper": paper, "config": to_plain(config)}, "hyper_parameters": dict(module.hparams)}
        file = folder / f"{paper}.ckpt"
        torch.save({**content, "state_dict": module.state_dict()}, file)
        return file

    return save


@pytest.fixture
def write_checkpoint(save_checkpoint: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``write_checkpoint("ssn", "data.root=…")``: the same in ``tmp_path``."""
    return partial(save_checkpoint, tmp_path)


@pytest.fixture
def toy_table(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module ``toy_ablate``, its table registered for this test."""
    from experiments.ablation import jobs
    from experiments.tables import loader

    monkeypatch.setattr(loader, "TABLES", loader.TABLES)
    monkeypatch.setattr(jobs, "RUNNER", jobs.RUNNER)
    module = importlib.import_module("toy_ablate")
    module.register(tmp_path)
    yield module
    sys.modules.pop("toy_ablate", None)


@pytest.fixture
def run(toy: Any, tiny_coco: Path, tmp_path: Path):
    """``run("key=value", "--flag", …)`` trains the toy paper and returns the exit code."""
    from experiments.run import main

    def call(*arguments: str) -> int:
        return main(["--paper", "toy", f"data.root={tiny_coco}", f"output.root={tmp_path}/runs", *arguments])

    call.runs = tmp_path / "runs" / "toy"
    return call
