"""What every benchmark shares: one line of the table, the device's setting, and a fair race of several forms."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import nn

Run = Callable[[], object]
COMPARED = ("naive", "peer", "limit")
"""The columns that ours is beside."""


class Line(NamedTuple):
    """One row of the table. All figures of a line have one unit, and less is better."""

    name: str
    ours: float
    naive: float | None = None
    """The straightforward form of the same function."""
    peer: float | None = None
    """What others use for it; of several the least."""
    limit: float | None = None
    """What it cannot be better than, or is not to exceed."""
    unit: str = "ms"
    against: str = "naive"
    """The figure that the ratio is of: ``naive``, ``peer``, ``limit``, or one of ``peers``."""
    asked: float | None = None
    """The least ratio that will do."""
    note: str = ""
    """What the columns are."""
    peers: dict[str, float] | None = None
    """Each of what others use by its name, where there are several."""
    without: Mapping[str, str] | None = None
    """Why there is none, in a phrase, for each of ``COMPARED`` that is empty."""
    why_behind: str = ""
    """Why others may be ahead, or what is asked not reached; told where it is so."""

    @property
    def behind(self) -> list[str]:
        """What ours is behind: others by name, and what is asked."""
        peers = self.peers if self.peers else {"the peer": self.peer}
        ahead = [name for name, value in peers.items() if value is not None and value < self.ours]
        return ahead + (["what is asked"] if self.holds is False else [])

    @property
    def ratio(self) -> float | None:
        """How many times better than ``against``; of a limit, the share of it that is reached."""
        named = self.peers or {}
        reference = named[self.against] if self.against in named else getattr(self, self.against, None)
        return None if reference is None or not self.ours else reference / self.ours

    @property
    def holds(self) -> bool | None:
        """Whether what is asked is reached; None where nothing is asked or compared."""
        return None if self.asked is None or self.ratio is None else self.ratio >= self.asked

    @property
    def unexplained(self) -> list[str]:
        """Columns with neither a figure nor a phrase why, or with both."""
        return [name for name in COMPARED if (getattr(self, name) is None) != (name in (self.without or {}))]


class Setting(NamedTuple):
    """Where and how to measure."""

    device: str = "cpu"
    full: bool = False
    """More sizes and more repeats."""
    compile: bool = False
    data: Path | None = None
    """Folder in COCO's layout; None takes rendered people."""

    @property
    def is_gpu(self) -> bool:
        return self.device != "cpu"

    def place(self, module: nn.Module) -> Any:
        """``module`` for inference: on the device, and on a GPU channels last, compiled where asked for."""
        import torch

        module = module.eval().to(self.device)
        if self.is_gpu:
            module = module.to(memory_format=torch.channels_last)
        return torch.compile(module) if self.compile else module

    def autocast(self) -> torch.autocast:
        """bf16 on a GPU, nothing on a CPU."""
        import torch

        return torch.autocast(self.device, torch.bfloat16, enabled=self.is_gpu)

    def clock(self) -> float:
        """Seconds: of all threads' work on a CPU, where other load then hardly counts; of the wall beside a GPU."""
        if not self.is_gpu:
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def seconds(self, run: Run) -> float:
        start = self.clock()
        run()
        return self.clock() - start

    def race(
        self, runs: Mapping[str, Run], *, repeats: int = 5, budget: float = 6.0, warm: bool = True
    ) -> dict[str, float]:
        """Median milliseconds of each run, taken in turn after one warm-up; a slow machine hurts all alike.

        Args:
            repeats: rounds, twice as many with ``full``; at least two are made.
            budget: seconds after which no further round begins.
            warm: False leaves the warm-up out, where the first run costs what the others do.
        """
        times: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values() if warm else ():
            run()
        spent = 0.0
        for done in range(repeats * (2 if self.full else 1)):
            if done >= 2 and spent > budget:
                break
            for name, run in runs.items():
                times[name].append(self.seconds(run))
                spent += times[name][-1]
        return {name: 1e3 * median(values) for name, values in times.items()}
