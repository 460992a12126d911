"""What a run leaves behind: ``result.json``, ``curves.png``, and its identity inside every checkpoint."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor

from callbacks.metrics_csv import MetricsCsv
from callbacks.metrics_file import read_metrics

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "timm",
    "numpy",
    "albumentations",
    "opencv-python-headless",
    "pycocotools",
    "wandb",
)


class ResumeError(ValueError):
    """A checkpoint that does not belong to this run."""


class RunRecord(pl.Callback):
    """Keeps the time, the facts and the random state of a run, also over interruptions.

    Every checkpoint carries ``checkpoint["run"]``: paper, configuration, skeleton and samples per optimizer step, as
    plain data. Resuming with another number of samples per step is refused. Devices and the samples that one of them
    takes at a time change between epochs only.

    Args:
        directory: of the files.
        identity: ``paper``, ``config`` (plain), ``skeleton``, ``samples_per_step``, ``devices``, ``batch_size``.
    """

    def __init__(self, directory: Path, identity: dict[str, Any]) -> None:
        self.directory = directory
        self.identity = identity
        self._seconds_before = 0.0
        self._started_at = time.monotonic()
        self._train_started_at: float | None = None
        self._random: list[dict[str, Any]] | None = None
        """Of every rank: its generators' states, ``cpu`` and ``cuda``."""
        self._first_step = 0

    @property
    def wall_time(self) -> float:
        """Seconds since the run began, its earlier parts included."""
        return self._seconds_before + time.monotonic() - self._started_at

    def state_dict(self) -> dict[str, Any]:
        return {"wall_time": self.wall_time, "random": random_states()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._train_started_at is not None:
            return  # the best checkpoint comes back for its evaluation, in the same process
        self._seconds_before = float(state_dict["wall_time"])
        stored = state_dict["random"]
        self._random = [{"cpu": stored, "cuda": state_dict["cuda_random"]}] if isinstance(stored, Tensor) else stored

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["run"] = self.identity

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != "fit":
            return
        stored = checkpoint.get("run") or {}
        for key in ("paper", "skeleton", "samples_per_step"):
            if stored.get(key) != self.identity[key]:
                hint = "; set trainer.devices or trainer.accumulate to keep it" if key == "samples_per_step" else ""
                raise ResumeError(f"the checkpoint has {key} {stored.get(key)}, this run {self.identity[key]}{hint}")
        epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        for key in ("devices", "batch_size"):
            if epochs["ready"] > epochs["processed"] and stored[key] != self.identity[key]:
                raise ResumeError(
                    f"the checkpoint lies within an epoch, which must be finished with {key} {stored[key]}, "
                    f"not {self.identity[key]}"
                )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._train_started_at = time.monotonic()
        self._first_step = trainer.global_step
        self._set_random(trainer)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCsv):
                logger.forget_after(trainer.global_step)

    def _set_random(self, trainer: pl.Trainer) -> None:
        """Each rank draws its own numbers, and after an interruption those it would have drawn."""
        rank, states = trainer.global_rank, self._random
        if states is not None and (len(states) == trainer.world_size or rank == 0):
            torch.set_rng_state(states[rank]["cpu"].cpu())
            if states[rank]["cuda"] is not None and torch.cuda.is_available():
                torch.cuda.set_rng_state(states[rank]["cuda"].cpu())
        elif rank > 0:
            torch.manual_seed(int(self.identity["config"]["seed"]) + 1_000_003 * rank + trainer.global_step)

    def facts(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What training came to; call it right after ``fit``."""
        seconds = time.monotonic() - (self._train_started_at or time.monotonic())
        steps = trainer.global_step - self._first_step
        parameters = list(pl_module.parameters())
        return {
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "samples_per_step": self.identity["samples_per_step"],
            "seconds_per_step_with_evaluation": round(seconds / steps, 5) if steps and seconds else None,
            "parameters": sum(parameter.numel() for parameter in parameters),
            "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
            "peak_device_memory_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        }

    def write(
        self,
        *,
        protocol: str,
        figures: dict[str, float],
        train: dict[str, Any],
        last: dict[str, Any] | None = None,
        **more: Any,
    ) -> Path:
        """Write ``result.json`` (a figure that does not exist is null) and return its path.

        Args:
            figures: of the checkpoint that is reported.
            last: ``step`` and ``figures`` of the weights at the end of training; None where they are not evaluated.

        Raises:
            OSError: it cannot be written.
        """
        result = {
            "paper": self.identity["paper"],
            "protocol": protocol,
            "figures": _finite(figures),
            "last": None if last is None else {**last, "figures": _finite(last["figures"])},
            **more,
            "train": train,
            "seed": self.identity["config"].get("seed"),
            "wall_time_s": round(self.wall_time, 1),
            "git": git_state(),
            "versions": versions(),
            "hardware": hardware(),
            "config": self.identity["config"],
        }
        file = self.directory / "result.json"
        draft = file.with_suffix(".json.part")
        draft.write_text(json.dumps(result, indent=2) + "\n")
        os.replace(draft, file)
        return file


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: figure if math.isfinite(figure) else None for name, figure in figures.items()}


def random_states() -> list[dict[str, Any]]:
    """State of torch's generators on every rank, in their order. Every rank must call it."""
    own = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None}
    if not (dist.is_available() and dist.is_initialized()):
        return [own]
    states: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(states, own)
    return states


def git_state() -> dict[str, Any] | None:
    """Commit and whether files differ from it, of the repository this file lies in; None outside of one."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "is_modified": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def hardware() -> dict[str, Any]:
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"machine": platform.machine(), "system": sys.platform, "cpus": os.cpu_count(), "gpus": devices}


def draw_curves(metrics_file: Path, picture: Path) -> Path | None:
    """Loss terms, AP and the parts' vital signs over optimizer steps; None where nothing was logged."""
    if not metrics_file.exists():
        return None
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for step, _, metric, value in read_metrics(metrics_file):
        if metric.startswith(("train/", "vitals/")) or metric in ("val/AP", "val/AP50", "val/AP75"):
            curves[metric].append((step, value))
    if not curves:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    vitals = {metric: points for metric, points in curves.items() if metric.startswith("vitals/")}
    figure = Figure(figsize=(12, 8 if vitals else 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 if vitals else 1, 2, sharex=True, squeeze=False)
    losses, scores = panels[0]
    for metric, points in sorted(curves.items()):
        if metric in vitals:
            continue
        axes = losses if metric.startswith("train/") else scores
        factor = 1.0 if axes is losses else 100.0
        steps = [step for step, _ in points]
        axes.plot(steps, [factor * value for _, value in points], label=metric.split("/", 1)[1], marker=".")
    losses.set(title="training loss", xlabel="optimizer step", yscale="log")
    scores.set(title="validation", xlabel="optimizer step", ylim=(0, None))
    if vitals:
        _draw_vitals(vitals, *panels[1])
    for axes in panels.flat:
        axes.grid(alpha=0.3)
        if any(not line.get_label().startswith("_") for line in axes.lines):
            axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(picture, dpi=110)
    return picture


def _draw_vitals(vitals: dict[str, list[tuple[int, float]]], moves: Any, shares: Any) -> None:
    """Each part's median |update| over its learning rate, the ten that moved least by name; each term's share."""
    lines = {metric.split("/")[1]: points for metric, points in vitals.items() if metric.endswith("/update_over_lr")}
    order = sorted(lines, key=lambda part: lines[part][-1][1])
    for part in order:
        style = {"label": part, "marker": "."} if part in order[:10] else {"color": "lightgrey", "zorder": 0}
        moves.plot(*zip(*lines[part], strict=True), **style)
    for metric, points in sorted(vitals.items()):
        if metric.endswith("/grad_share"):
            shares.plot(*zip(*points, strict=True), label=metric.split("/")[1], marker=".")
    moves.set(title="median |update| / learning rate, ten parts that move least", xlabel="optimizer step", yscale="log")
    shares.set(title="share of the gradient at the shared features", xlabel="optimizer step", ylim=(0, 1))
