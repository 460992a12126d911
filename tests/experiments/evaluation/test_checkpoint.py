from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.coco import CocoDataModule
from experiments.checkpoint import load_trained
from experiments.evaluation.checkpoint import run_model


@pytest.mark.parametrize("wanted", [True, False])
def test_a_model_is_laid_out_as_it_was_trained(
    write_checkpoint: Callable[..., Path], tiny_coco: Path, wanted: bool
) -> None:
    file = write_checkpoint("ssn", f"data.root={tiny_coco}", f"trainer.channels_last={str(wanted).lower()}")
    trained = load_trained(file)
    run_model(trained, CocoDataModule(trained.config.data, trained.skeleton))
    weight = max(trained.module.parameters(), key=lambda values: values.ndim == 4 and values.shape[2] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last) is wanted
