"""The rate of the step whose losses are logged, once a step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from callbacks.learning_rate import LearningRate


def test_it_is_logged_with_the_losses_and_once_where_batches_accumulate() -> None:
    logged: list[tuple[float, int]] = []
    group = {"lr": 0.0}
    logger = SimpleNamespace(log_metrics=lambda metrics, step: logged.append((metrics["lr"], step)))
    trainer: Any = SimpleNamespace(
        global_step=0, log_every_n_steps=3, loggers=[logger], optimizers=[SimpleNamespace(param_groups=[group])]
    )
    callback, module = LearningRate(), Any
    for batch in range(14):  # two a step
        trainer.global_step = batch // 2
        group["lr"] = 10.0 * trainer.global_step
        callback.on_train_batch_start(trainer, module, None, batch)  # type: ignore[arg-type]  # it asks no module
    assert logged == [(20.0, 2), (50.0, 5)]
