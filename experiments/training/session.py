"""Builds what a configuration describes, trains it, and evaluates its best checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger

from callbacks.checkpoints import Checkpoints
from callbacks.coco_evaluation import CocoEvaluation
from callbacks.interruption import Interruption
from callbacks.learning_rate import LearningRate
from callbacks.metrics_csv import MetricsCsv
from callbacks.nan_guard import NanGuard
from callbacks.nan_skip import NanSkip
from callbacks.pictures import Pictures
from callbacks.progress import ProgressLine
from callbacks.rank_watch import RankWatch
from callbacks.run_record import RunRecord, draw_curves
from callbacks.vitals import Vitals
from callbacks.wandb_logging import ForgivingWandbLogger, open_wandb
from callbacks.weight_average import average_weights
from datamodules.coco import CocoDataModule
from datamodules.skeleton import Skeleton, load_skeleton
from datamodules.workers import kill_workers, signals_held
from experiments.config import ConfigError, OnNan, RunConfig, to_plain
from experiments.evaluation.protocol import protocol_name
from experiments.training.accumulation import difference
from experiments.training.batch_norm import describe_batch_norm
from experiments.training.batch_plan import BatchPlan, describe, plan_run
from experiments.training.run_directory import RunDirectory
from experiments.training.sources import checkpoint_to_resume, refuse_missing_files
from experiments.training.trainer import build_trainer
from lightning_modules.papers import PAPERS, load


class Outcome(NamedTuple):
    """Of rank 0; the files are None on the others."""

    figures: dict[str, float]
    protocol: str
    result_file: Path | None
    picture: Path | None


class Callbacks(NamedTuple):
    evaluation: CocoEvaluation
    pictures: Pictures
    record: RunRecord
    rank_watch: RankWatch
    nan_guard: NanGuard | NanSkip
    progress: ProgressLine
    learning_rate: LearningRate
    interruption: Interruption
    checkpoints: Checkpoints


class Session:
    """One run in this process: ``fit`` and ``finish``, in that order.

    Args:
        directory: locked by rank 0, joined by the others.
        say: prints a line for the user; called on rank 0 only.

    Raises:
        ValueError: something in the configuration, the data or a checkpoint cannot be used; one line.
    """

    def __init__(self, config: RunConfig, directory: RunDirectory, *, is_first: bool, say: Callable[[str], None]):
        self.config = config
        self.directory = directory
        self.say = say if is_first else lambda line: None
        pl.seed_everything(config.seed, workers=True, verbose=False)
        self.skeleton = load_skeleton(config.data.skeleton)
        self.trainer = build_trainer(config, directory.path)
        self.plan = plan_run(config, self.trainer.world_size)
        self.data = CocoDataModule(replace(config.data, batch_size=self.plan.batch_size), self.skeleton, config.seed)
        refuse_missing_files(self.data)
        self.trainer.accumulate_grad_batches = self.plan.accumulate
        self.trainer.fit_loop.epoch_loop.max_steps = self.plan.in_steps(config.trainer.max_steps, config.optimizer)
        self.say(self._opening_line())
        self.module = build_module(config, self.skeleton, self.plan)
        differs = difference(self.module, accumulate=self.plan.accumulate, sync_batchnorm=config.trainer.sync_batchnorm)
        for line in (describe_batch_norm(self.module, self.plan, config), differs):
            if line:
                self.say(line)
        self.callbacks = build_callbacks(config, directory.path, self._identity())
        paper = PAPERS[config.paper]
        model = self.plan.model(config.model, paper, config.optimizer)
        papers_own = [load(reference)(model) for reference in paper.callbacks]
        decay = config.trainer.ema_decay
        average = [] if decay is None else [average_weights(decay)]  # first: checkpoints hold it
        trainer: Any = self.trainer  # Lightning declares its callbacks nowhere
        vitals = [Vitals(every, self.say)] if (every := config.trainer.vitals_every_steps) else []
        trainer.callbacks = [*average, *papers_own, *self.callbacks, *vitals]
        self.trainer.loggers = self._loggers(is_first)

    def fit(self, *, resume: bool) -> None:
        """Train, from the newest sound checkpoint if ``resume``."""
        checkpoint = checkpoint_to_resume(self.directory, self.config, self.say) if resume else None
        self.data.resumes_at = _position(checkpoint) if checkpoint else (0, 0)
        try:
            self.trainer.fit(self.module, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)
        except ValueError as error:
            if "`val_check_interval`" not in str(error):
                raise
            raise ConfigError(
                f"trainer.val_every_steps={self.config.trainer.val_every_steps}: an epoch has only "
                f"{self.trainer.num_training_batches} batches; take at most as many, or null"
            ) from error

    @property
    def has_trained(self) -> bool:
        return self.trainer.global_step > 0

    def finish(self) -> Outcome:
        """Evaluate the best checkpoint and write what a run leaves behind."""
        self.callbacks.interruption.watch()
        facts = self.callbacks.record.facts(self.trainer, self.module)
        loggers, self.trainer.loggers = self.trainer.loggers, []
        is_evaluated = self._evaluate_the_end(loggers)
        last = dict(self.callbacks.evaluation.figures)
        best = self.callbacks.checkpoints.best
        best = Path(self.trainer.strategy.broadcast(str(best if best.exists() else self.callbacks.checkpoints.last)))
        if not is_evaluated:
            self._evaluate(best)
        figures = self.callbacks.evaluation.figures
        protocol = protocol_name(self.config, self.callbacks.evaluation.num_images)
        if not self.trainer.is_global_zero:
            self._let_go()
            return Outcome(figures, protocol, None, None)
        draw_curves(self.directory.path / "metrics.csv", self.directory.path / "curves.png")
        result_file = self.callbacks.record.write(
            protocol=protocol,
            figures=figures,
            last={"step": self.trainer.global_step, "figures": last},
            name=self.directory.path.name,
            preset=self.config.preset,
            checkpoint=best.name,
            train={**facts, "best_step": self.callbacks.checkpoints.best_step, "lr_factor": self.plan.lr_factor},
            data_faults=self.data.faults,
        )
        if not self.config.trainer.keep_optimizer:
            self.callbacks.checkpoints.keep_weights()
        summary = {f"best/{name}": figure for name, figure in figures.items()}
        summary |= {f"last/{name}": figure for name, figure in last.items()}
        self._close(loggers, summary, exit_code=0)
        self._let_go()
        return Outcome(figures, protocol, result_file, self.callbacks.pictures.last_file)

    def _evaluate_the_end(self, loggers: list[Logger]) -> bool:
        """Whether what was evaluated last is the best checkpoint. The end of a schedule that lies between two
        evaluations is evaluated first."""
        checkpoints, step = self.callbacks.checkpoints, self.trainer.global_step
        if checkpoints.evaluated_step == step and self.callbacks.evaluation.figures:
            if checkpoints.best_step == step:
                self.callbacks.pictures.name_best()
            return checkpoints.best_step == step
        self._evaluate(Path(self.trainer.strategy.broadcast(str(checkpoints.last))))
        figures = self.callbacks.evaluation.figures
        self.say(f"the end, step {step}, evaluated: AP {100 * figures['AP']:.1f}")
        for logger in loggers:
            logger.log_metrics({f"val/{name}": figure for name, figure in figures.items()}, step - 1)
            logger.save()
        return checkpoints.offer_last(self.trainer, figures["AP"])

    def _evaluate(self, checkpoint: Path) -> None:
        self.trainer.validate(self.module, datamodule=self.data, ckpt_path=checkpoint, weights_only=True, verbose=False)

    def explain(self, error: Exception) -> str | None:
        """One line on the rank that made a collective fail; None for any other error."""
        return self.callbacks.rank_watch.explain(error)

    def abandon(self) -> None:
        """Close what an interrupted or failed run leaves open."""
        self._let_go()
        kill_workers()
        self._close(self.trainer.loggers, {}, exit_code=1)

    def _let_go(self) -> None:
        self.callbacks.interruption.release()
        self.callbacks.rank_watch.close()

    def _close(self, loggers: list[Logger], summary: dict[str, Any], *, exit_code: int) -> None:
        for logger in loggers:
            if isinstance(logger, ForgivingWandbLogger):
                logger.finish(summary, exit_code)
            else:
                logger.finalize("success" if exit_code == 0 else "failed")

    def _opening_line(self) -> str:
        config, trainer = self.config, self.trainer
        samples = describe(self.plan, config.optimizer)
        kind = type(trainer.accelerator).__name__.removesuffix("Accelerator")
        return f"{config.paper} · {config.preset or 'recipe'} · {kind} · {samples} · {self.directory.path}"

    def _identity(self) -> dict[str, Any]:
        return {
            "paper": self.config.paper,
            "config": to_plain(self.config),
            "skeleton": self.skeleton.name,
            "samples_per_step": self.plan.samples_per_step,
            "devices": self.trainer.world_size,
            "batch_size": self.plan.batch_size,
        }

    def _loggers(self, is_first: bool) -> list[Logger]:
        path = self.directory.path
        loggers: list[Logger] = [MetricsCsv(path / "metrics.csv")]
        if is_first:
            with signals_held():  # W&B's own process must outlive a signal to the whole job
                wandb = open_wandb(
                    self.config.wandb,
                    directory=path,
                    run_id=self.directory.run_id,
                    name=self.config.wandb.name or f"{self.config.paper}/{path.name}",
                    job_type="train",
                    config=to_plain(self.config),
                )
            loggers += [wandb] if wandb is not None else []
        return loggers


def _position(checkpoint: Path) -> tuple[int, int]:
    """The epoch that a checkpoint lies in, and how many batches of it are done."""
    loop = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["loops"]["fit_loop"]
    epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]["current"]
    is_within = epochs["ready"] > epochs["processed"]
    return epochs["processed"], batches["ready"] if is_within else 0


def build_module(config: RunConfig, skeleton: Skeleton, plan: BatchPlan) -> pl.LightningModule:
    """The paper's module, its recipe scaled to the plan, its network laid out and compiled as configured."""
    module: pl.LightningModule = load(PAPERS[config.paper].module)(
        config.model, plan.optimizer(config.optimizer), skeleton
    )
    network: Any = module.network
    if config.trainer.channels_last:
        network.to(memory_format=torch.channels_last)
    if config.trainer.compile:
        network.compile()
    return module


def build_callbacks(config: RunConfig, directory: Path, identity: dict[str, Any]) -> Callbacks:
    options = config.trainer
    checkpoints = Checkpoints(directory, every_steps=options.checkpoint_every_steps)
    return Callbacks(
        evaluation=CocoEvaluation(directory / "predictions.json", config.evaluation.backend),
        pictures=Pictures(directory / "pictures", config.output.pictures),
        record=RunRecord(directory, identity),
        rank_watch=RankWatch(patience=options.ddp_timeout / 2),
        nan_guard=(NanSkip(directory, options.max_nan_skips) if options.on_nan is OnNan.skip else NanGuard(directory)),
        progress=ProgressLine(),
        learning_rate=LearningRate(),
        interruption=Interruption(checkpoints),
        checkpoints=checkpoints,
    )
