"""Scores every validation with COCO's figures, over all ranks together."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch.distributed as dist

from datamodules.coco_backend import check_backend
from datamodules.config import EvaluationBackend
from datamodules.contracts import PoseBatch, Predictions
from datamodules.evaluator import CocoKeypointEvaluator
from datamodules.keypoint_distance import MEAN_DISTANCE, KeypointDistance
from datamodules.result_files import write_whole


class Collector(Protocol):
    """What collects its share on each rank."""

    def state(self) -> Any: ...

    def merge(self, state: Any) -> None: ...

    def compute(self) -> dict[str, float]: ...


class Measure(Collector, Protocol):
    """Metrics of an evaluation beside COCO's."""

    def reset(self) -> None: ...

    def update(self, predictions: Predictions, batch: PoseBatch) -> None: ...


class CocoEvaluation(pl.Callback):
    """Collects the ``Predictions`` that ``validation_step`` returns and logs ``val/AP`` and the other nine figures.

    A module of several stages names them in ``stages`` and returns ``Predictions`` by name; the last is its answer.
    All are scored: ``val/AP`` is the answer's, and each stage has ``val/<stage>/AP`` and so on. Where people are given
    by their ground-truth boxes, ``mean_distance_px`` is one more metric (``datamodules.keypoint_distance``); a module
    adds its own by ``measures``, one ``Measure`` by stage.

    The datamodule says what is scored: ``val_annotation_file``, ``val_image_ids``, ``skeleton``,
    ``val_people_are_given`` and ``config.on_bad_annotation``; the module's ``suppress``, if it has one, which people of
    one image are duplicates. Each rank collects its share; at the end all enter one gathering a stage, rank 0 scores,
    and all get the same figures, so that whatever depends on them (checkpoints above all) agrees everywhere.

    Args:
        predictions_file: the last evaluation's people in COCO's result format; None writes none.
        backend: what computes the figures.

    Raises:
        ValueError: the backend is not installed.
    """

    def __init__(
        self, predictions_file: Path | None = None, backend: EvaluationBackend = EvaluationBackend.pycocotools
    ) -> None:
        check_backend(backend)
        self.backend = backend
        self.predictions_file = predictions_file
        self.figures: dict[str, float] = {}
        """Of the last evaluation, by the names of ``datamodules.evaluator.FIGURES``, and of the stages before
        ``<stage>/AP`` and ``<stage>/mean_distance_px``."""
        self.stages: dict[str, dict[str, float]] = {}
        """All figures of the last evaluation by stage, the answer last; a module of one stage has it under ``""``."""
        self.num_images = 0
        """Images the last evaluation was over."""
        self._evaluators: dict[str, CocoKeypointEvaluator] = {}
        self._measures: dict[str, list[Measure]] = {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._evaluators:
            data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning declares it nowhere
            own: dict[str, Measure] = getattr(pl_module, "measures", {})
            for stage in getattr(pl_module, "stages", ("",)):
                self._evaluators[stage] = CocoKeypointEvaluator(
                    data.val_annotation_file,
                    image_ids=data.val_image_ids,
                    skeleton=data.skeleton,
                    suppress=getattr(pl_module, "suppress", None),
                    backend=self.backend,
                    on_bad=data.config.on_bad_annotation,
                )
                distance: list[Measure] = [KeypointDistance()] if data.val_people_are_given else []
                self._measures[stage] = [*distance, *([own[stage]] if stage in own else [])]
        for evaluator in self._evaluators.values():
            evaluator.reset()
            self.num_images = len(evaluator.ground_truth.image_ids)
        for measures in self._measures.values():
            for measure in measures:
                measure.reset()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Predictions | dict[str, Predictions],  # type: ignore[override]  # what our modules return
        batch: PoseBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        by_stage = {"": outputs} if isinstance(outputs, Predictions) else outputs
        for stage, predictions in by_stage.items():
            self._evaluators[stage].update(predictions)
            for measure in self._measures[stage]:
                measure.update(predictions, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        by_stage: dict[str, dict[str, float]] = {}
        for stage, evaluator in self._evaluators.items():
            by_stage[stage] = score_together(evaluator, *self._measures[stage])
            if evaluator.num_dropped:
                what = "people left out of the figures because a score or a coordinate is not finite"
                print(f"warning: {what}: {evaluator.num_dropped}", file=sys.stderr, flush=True)
            if stage:
                pl_module.log_dict({f"val/{stage}/{name}": figure for name, figure in by_stage[stage].items()})
        self.stages = dict(by_stage)
        _, answer = by_stage.popitem()
        pl_module.log_dict({f"val/{name}": figure for name, figure in answer.items()})
        earlier = {
            f"{stage}/{name}": figures[name]
            for stage, figures in by_stage.items()
            for name in ("AP", MEAN_DISTANCE)
            if name in figures
        }
        self.figures = answer | earlier
        if self.predictions_file is not None and trainer.is_global_zero and not trainer.sanity_checking:
            write_whole(self.predictions_file, json.dumps(evaluator.results()))

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """Stage -> its people of the last evaluation in COCO's result format; complete on rank 0."""
        return {stage: evaluator.results() for stage, evaluator in self._evaluators.items()}

    def mask_results(self) -> list[dict[str, Any]]:
        """The answer's masks in COCO's result format for segmentation; empty where none are predicted."""
        return list(self._evaluators.values())[-1].mask_results()


def score_together(*collectors: Collector) -> dict[str, float]:
    """The figures of all ranks' samples. Every rank must call it; an error on rank 0 is raised on all.

    Afterwards rank 0's collectors hold every sample.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return _compute(collectors)
    is_first = dist.get_rank() == 0
    states: list[Any] | None = [None] * dist.get_world_size() if is_first else None
    dist.gather_object([collector.state() for collector in collectors], states, dst=0)
    answer: list[Any] = [None]
    if is_first:
        try:
            for of_rank in states or []:
                for collector, state in zip(collectors, of_rank, strict=True):
                    collector.merge(state)
            answer = [_compute(collectors)]
        except Exception as error:  # the others must not wait for figures that never come
            answer = [error]
    dist.broadcast_object_list(answer, src=0)
    if isinstance(answer[0], Exception):
        raise answer[0]
    figures: dict[str, float] = answer[0]
    return figures


def _compute(collectors: Sequence[Collector]) -> dict[str, float]:
    return {name: figure for collector in collectors for name, figure in collector.compute().items()}
