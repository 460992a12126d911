"""Progress in a log: few lines, each with what matters."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from callbacks import progress
from callbacks.progress import ProgressLine, duration


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75, "1:15"), (59.6, "1:00"), (3700, "1:01:40")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_of_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    stream = io.StringIO()
    line = ProgressLine(Console(file=stream, soft_wrap=True))
    trainer: Any = SimpleNamespace(
        is_global_zero=True,
        global_step=0,
        current_epoch=0,
        max_epochs=2,
        estimated_stepping_batches=200,
        accumulate_grad_batches=2,
        num_val_batches=[5],
        sanity_checking=False,
        state=SimpleNamespace(fn="fit"),
        callback_metrics={"val/AP": torch.tensor(0.4321)},
    )
    module: Any = None
    line.setup(trainer, module, "fit")
    line.on_train_start(trainer, module)
    for step in range(1, 101):
        clock.now, trainer.global_step = 0.5 * step, step
        line.on_train_batch_end(trainer, module, {"loss": torch.tensor(2.0 / step)}, None, step - 1)
    line.on_validation_end(trainer, module)
    clock.now += 31
    line.on_validation_batch_end(trainer, module, None, None, 1)
    line.teardown(trainer, module, "fit")
    assert [re.sub(r" {2,}", "  ", text) for text in stream.getvalue().splitlines()] == [
        "epoch 1/2  step 60/200  loss 0.06667  2.00 steps/s  1:10 left",
        "epoch 1/2  step 100  evaluated: AP 43.2",
        "evaluating 2/5",
    ]
    trainer.is_global_zero = False
    clock.now += 100
    line.on_validation_batch_end(trainer, module, None, None, 2)
    assert len(stream.getvalue().splitlines()) == 3
