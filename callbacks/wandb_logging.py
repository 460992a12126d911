"""Weights & Biases that never ends or holds up a run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from callbacks.wandb_mode import default_mode

FINISH_TIMEOUT = 60.0
"""Seconds to wait at the end for what is still being sent; the files stay."""


class ForgivingWandbLogger(WandbLogger):
    """A ``WandbLogger`` over a run that is already open. Its first failure is told, and the training goes on."""

    def __init__(self, run: Any, directory: Path) -> None:
        super().__init__(experiment=run, project=run.project, save_dir=directory)
        self._has_failed = False
        self._attempt(lambda: _define_axes(run))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The configuration was given when the run was opened."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._attempt(lambda: WandbLogger.log_metrics(self, metrics, step))

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        self._attempt(lambda: WandbLogger.log_image(self, key, images, step, **kwargs))

    @rank_zero_only
    def log_content(self, make: Callable[[], dict[str, Any]]) -> None:
        """Log what ``make`` returns (tables, pictures, plots); what goes wrong in it counts as W&B's failure."""
        self._attempt(lambda: self.experiment.log(make()))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """The run stays open for its summary; ``finish`` ends it."""

    @rank_zero_only
    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Write the final figures and close the run."""
        self._attempt(lambda: self.experiment.summary.update(dict(summary)))
        self._attempt(lambda: self.experiment.finish(exit_code=exit_code))
        if self._has_failed:  # its service may be gone: else it is missed, with a traceback, when the process ends
            with contextlib.suppress(Exception):
                _let_go()

    def _attempt(self, action: Callable[[], Any]) -> None:
        if self._has_failed:
            return
        try:
            action()
        except Exception as error:  # whatever it is, the training is worth more
            self._has_failed = True
            _tell(f"logging stopped ({_first_line(error)}); training goes on")


def open_wandb(
    settings: Any, *, directory: Path, run_id: str, name: str, job_type: str, config: dict[str, Any]
) -> ForgivingWandbLogger | None:
    """Open (or, with the same ``run_id``, continue) a run; call it on rank 0 only.

    Args:
        settings: ``experiments.config.WandbConfig``. Its mode null is the environment's ``WANDB_MODE``, else online
            where an API key or a netrc entry is found, else offline.
        directory: where W&B keeps its files.

    Returns:
        None where W&B is disabled or cannot be opened even offline, which is told in one line.
    """
    mode = settings.mode.name if settings.mode is not None else default_mode()
    if mode == "disabled":
        return None
    if mode == "online":
        try:
            return _open("online", settings, directory, run_id, name, job_type, config)
        except Exception as error:
            _tell(f"not reachable ({_first_line(error)}); this run is kept offline")
            _let_go()
    try:
        return _open("offline", settings, directory, run_id, name, job_type, config)
    except Exception as error:
        _tell(f"cannot be opened ({_first_line(error)}); the run goes on without it")
    return None


def _open(
    mode: Literal["online", "offline"],
    settings: Any,
    directory: Path,
    run_id: str,
    name: str,
    job_type: str,
    config: dict[str, Any],
) -> ForgivingWandbLogger:
    import wandb

    wandb.setup(settings=wandb.Settings(silent=True, console="off"))
    run = wandb.init(
        project=settings.project,
        entity=settings.entity,
        group=settings.group,
        tags=list(settings.tags),
        dir=str(directory),
        id=run_id,
        name=name,
        job_type=job_type,
        config=config,
        mode=mode,
        resume="allow" if mode == "online" else None,
        settings=wandb.Settings(
            init_timeout=settings.init_timeout,
            login_timeout=settings.init_timeout,
            finish_timeout=FINISH_TIMEOUT,
            console="off",
            silent=True,
        ),
    )
    _tell(f"online, {run.url}" if mode == "online" else f"offline, {run.settings.sync_dir}")
    return ForgivingWandbLogger(run, directory)


def _let_go() -> None:
    """End W&B's service, which still holds the id of an attempt that failed."""
    import wandb

    wandb.teardown()


def _define_axes(run: Any) -> None:
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _tell(message: str) -> None:
    print(f"W&B: {message}", file=sys.stderr, flush=True)
