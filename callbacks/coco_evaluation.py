"""Scores every validation with COCO's figures, over all ranks together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist

from datamodules.contracts import PoseBatch, Predictions
from datamodules.evaluator import CocoKeypointEvaluator


class CocoEvaluation(pl.Callback):
    """Collects the ``Predictions`` that ``validation_step`` returns and logs ``val/AP`` and the other nine figures.

    A module of several stages names them in ``stages`` and returns ``Predictions`` by name; the last is its answer.
    All are scored: ``val/AP`` is the answer's, and each stage has ``val/<stage>/AP`` and so on.

    The datamodule says what is scored: ``val_annotation_file``, ``val_image_ids`` and ``skeleton``; the module's
    ``suppress``, if it has one, which people of one image are duplicates. Each rank collects its share; at the end all
    enter one gathering a stage, rank 0 scores, and all get the same figures, so that whatever depends on them
    (checkpoints above all) agrees everywhere.

    Args:
        predictions_file: the last evaluation's people in COCO's result format; None writes none.
    """

    def __init__(self, predictions_file: Path | None = None) -> None:
        self.predictions_file = predictions_file
        self.figures: dict[str, float] = {}
        """Of the last evaluation, by the names of ``datamodules.evaluator.FIGURES``, and ``<stage>/AP`` before."""
        self.num_images = 0
        """Images the last evaluation was over."""
        self._evaluators: dict[str, CocoKeypointEvaluator] = {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._evaluators:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            for stage in getattr(pl_module, "stages", ("",)):
                self._evaluators[stage] = CocoKeypointEvaluator(
                    data.val_annotation_file,
                    image_ids=data.val_image_ids,
                    skeleton=data.skeleton,
                    suppress=getattr(pl_module, "suppress", None),
                )
        for evaluator in self._evaluators.values():
            evaluator.reset()
            self.num_images = len(evaluator.image_ids)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Predictions | dict[str, Predictions],  # type: ignore[override]
        batch: PoseBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        by_stage = {"": outputs} if isinstance(outputs, Predictions) else outputs
        for stage, predictions in by_stage.items():
            self._evaluators[stage].update(predictions)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        earlier: dict[str, float] = {}
        for stage, evaluator in self._evaluators.items():
            self.figures = score_together(evaluator)
            if stage:
                pl_module.log_dict({f"val/{stage}/{name}": figure for name, figure in self.figures.items()})
                earlier[f"{stage}/AP"] = self.figures["AP"]
        pl_module.log_dict({f"val/{name}": figure for name, figure in self.figures.items()})
        self.figures = self.figures | dict(list(earlier.items())[:-1])
        if self.predictions_file is not None and trainer.is_global_zero and not trainer.sanity_checking:
            self.predictions_file.write_text(json.dumps(evaluator.results()))


def score_together(evaluator: CocoKeypointEvaluator) -> dict[str, float]:
    """The figures of all ranks' samples. Every rank must call it; an error on rank 0 is raised on all.

    Afterwards rank 0's evaluator holds every sample.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return evaluator.compute()
    is_first = dist.get_rank() == 0
    states: list[Any] | None = [None] * dist.get_world_size() if is_first else None
    dist.gather_object(evaluator.state(), states, dst=0)
    answer: list[Any] = [None]
    if is_first:
        try:
            for state in states or []:
                evaluator.merge(state)
            answer = [evaluator.compute()]
        except Exception as error:  # the others must not wait for figures that never come
            answer = [error]
    dist.broadcast_object_list(answer, src=0)
    if isinstance(answer[0], Exception):
        raise answer[0]
    figures: dict[str, float] = answer[0]
    return figures
