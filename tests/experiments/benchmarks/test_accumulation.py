"""A step of accumulated batches is that of as many devices, but in the paper whose devices share their counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.config import RenderedConfig
from datamodules.synthetic import make_dataset
from experiments.benchmarks.accumulation import compare, gradients_of
from experiments.config import list_papers
from lightning_modules.papers import PAPERS, load


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = RenderedConfig(train_images=1, val_images=4, size=128)
    return make_dataset(tmp_path_factory.mktemp("rendered") / "people", config, workers=1)


@pytest.mark.parametrize("paper", list_papers())
def test_accumulated_batches_are_devices_where_the_paper_says_so(paper: str, rendered: Path) -> None:
    gradients = gradients_of(paper, rendered, batches=4, each=1)
    accumulated = compare(gradients.accumulated, gradients.devices)
    if getattr(load(PAPERS[paper].module), "counts_over_ranks", False):
        assert accumulated.difference > 0.01
        assert compare(gradients.devices, gradients.together).difference < 1e-4
    else:
        assert accumulated.difference < 1e-6


@pytest.mark.parametrize(
    ("paper", "rounding"), [("ssn", 1e-3), ("ssa", 1e-3), ("ssa_refiner", 1e-3), ("openpose_ssal", 1e-2)]
)
def test_accumulated_batches_are_one_batch(paper: str, rounding: float, rendered: Path) -> None:
    """Their losses divide by numbers of samples alone. Random maps lie at the floor of OpenPose's divergence, on
    either side by rounding: without self-supervision its difference is below 1e-4 as well."""
    gradients = gradients_of(paper, rendered, batches=4, each=1)
    assert compare(gradients.accumulated, gradients.together).difference < rounding
