"""Everything that is logged, in one tidy table: ``step, epoch, metric, value``."""

from __future__ import annotations

import csv
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from callbacks.metrics_file import COLUMNS, read_metrics


class MetricsCsv(Logger):
    """Appends a row per metric; only rank 0 writes. ``step`` is the number of optimizer steps done.

    A resumed run calls ``forget_after`` with the step of its checkpoint: the rows that training is about to write
    again are dropped, and no step is there twice.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self._rows: list[tuple[int, int | str, str, float]] = []

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The configuration stands in ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        epoch = int(metrics["epoch"]) if "epoch" in metrics else ""
        done = 0 if step is None else step + 1  # Lightning gives the index of the last step
        self._rows += [(done, epoch, name, float(value)) for name, value in metrics.items() if name != "epoch"]

    @rank_zero_only
    def save(self) -> None:
        if not self._rows:
            return
        is_new = not self.file.exists()
        with self.file.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if is_new:
                writer.writerow(COLUMNS)
            writer.writerows(self._rows)
        self._rows = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Drop the rows of later steps. An interruption leaves the file as it was."""
        if not self.file.exists():
            return
        draft = self.file.with_name(f"{self.file.name}.part")
        with draft.open("w", newline="") as stream:
            kept = (row for row in read_metrics(self.file) if row[0] <= step)
            csv.writer(stream).writerows([COLUMNS, *kept])
        os.replace(draft, self.file)
