"""The line on accumulation stands where it is true, and nowhere else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from datamodules.skeleton import COCO
from experiments.config import compose, list_papers
from experiments.training.accumulation import difference
from lightning_modules.papers import PAPERS, load


@pytest.mark.parametrize("paper", list_papers())
def test_inspose_alone_divides_by_counts_that_devices_share(paper: str) -> None:
    config = compose(paper, "smoke")
    module = load(PAPERS[paper].module)(config.model, config.optimizer, COCO)
    assert difference(module, accumulate=1, sync_batchnorm=False) is None
    line = difference(module, accumulate=8, sync_batchnorm=False)
    if paper == "inspose":
        assert line is not None
        assert line.startswith("8 batches accumulated are not 8 devices: each batch divides its loss by its own counts")
    else:
        assert line is None


def test_synchronised_statistics_are_not_accumulated() -> None:
    module: Any = SimpleNamespace()
    assert difference(module, accumulate=1, sync_batchnorm=True) is None
    line = difference(module, accumulate=2, sync_batchnorm=True)
    assert line is not None
    assert "normalised by its own statistics" in line


@pytest.mark.parametrize(("accumulate", "times"), [(1, 0), (2, 1)])
def test_a_run_says_it_once_where_it_accumulates(accumulate: int, times: int, tmp_path: Any) -> None:
    from experiments.training.run_directory import RunDirectory
    from experiments.training.session import Session

    options = [
        f"trainer.accumulate={accumulate}",
        "trainer.devices=1",
        "trainer.accelerator=cpu",
        "wandb.mode=disabled",
    ]
    said: list[str] = []
    config = compose("inspose", "smoke", [*options, *data_options(tmp_path)])
    session = Session(config, RunDirectory(tmp_path / "run", "id"), is_first=True, say=said.append)
    session.callbacks.interruption.release()
    assert sum("accumulated are not" in line for line in said) == times


def data_options(folder: Any) -> list[str]:
    from datamodules.config import RenderedConfig
    from datamodules.synthetic import make_dataset

    root = make_dataset(folder / "people", RenderedConfig(train_images=2, val_images=1, size=64), workers=1)
    return [f"data.root={root}"]
