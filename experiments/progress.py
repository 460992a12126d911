"""Progress of a command that goes through images, on the standard error stream."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LOG_SECONDS = 30.0


class Line:
    """Progress on the standard error stream: a bar in a terminal, a line every 30 seconds elsewhere.

    Args:
        total: number of images, None where it is not known (yet); may be set later.
        what: what is done to them, in front of the numbers.
        unit: what is counted, where it is not images.
        console: where to write; None is the standard error stream.
    """

    def __init__(self, total: int | None, console: Console | None = None, what: str = "", unit: str = "images") -> None:
        self.unit = unit
        self.total, self.what = total, f"{what}  " if what else ""
        self.console = console or Console(file=sys.stderr, soft_wrap=True, highlight=False)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.started_at = time.monotonic()
        self.shown_at = 0.0

    def __enter__(self) -> Line:
        if self.console.is_terminal:
            columns = (BarColumn(bar_width=24), TextColumn("{task.description}"), TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task(self.what, total=self.total)
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def show(self, images: int, seconds: float | None = None) -> None:
        """``seconds``: how long they took; None is since the line was made."""
        seconds = time.monotonic() - self.started_at if seconds is None else seconds
        text = f"{self.what}{images}/{self.total or '?'} {self.unit}  {images / max(seconds, 1e-9):.1f} {self.unit}/s"
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=images, total=self.total, description=text)
        elif seconds - self.shown_at >= LOG_SECONDS:
            self.shown_at = seconds
            self.console.print(text)

    def show_of(self, images: int, total: int) -> None:
        """As ``show``, where the total is known only now."""
        self.total = total
        self.show(images)


class Transfer:
    """Progress of downloads and archives: ten times a second in a terminal, else a line every ten seconds."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.what = ""
        self.began = self.shown = 0.0
        self.first = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self.what:
            self.finish()
            self.what, self.began, self.first, self.shown = what, now, done, 0.0
        if done < total and now - self.shown < (0.1 if self.terminal else 10.0):
            return
        self.shown = now
        speed = (done - self.first) / max(now - self.began, 1e-9)
        text = f"{what}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {speed / 1e6:,.0f} MB/s"
        print(
            f"\r{text}\033[K" if self.terminal else text, end="" if self.terminal else "\n", file=sys.stderr, flush=True
        )

    def finish(self) -> None:
        if self.what and self.terminal:
            print(file=sys.stderr)
        self.what = ""
