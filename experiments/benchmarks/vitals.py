"""Vital signs of a network's parts: what they add to a training step at the default interval.

    python -m experiments.benchmarks.vitals

One measurement (weights copied before the optimizer step, norms and medians after it, the copy to the host read), and
for a paper of several loss terms their shares of the gradient, each spread over the steps from one to the next.
Beside it one hundredth of a step of the same module: forward, backward and optimizer. CPU seconds of one thread.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from callbacks.nan_guard import start_copy
from callbacks.term_shares import term_shares
from callbacks.vitals import TERMS_EVERY, hold, measure
from datamodules.config import RenderedConfig
from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from datamodules.synthetic import make_dataset
from experiments.benchmarks.end_to_end import batch_of
from experiments.benchmarks.measuring import Line, Setting
from experiments.config import RunConfig, compose
from lightning_modules.papers import PAPERS, load
from lightning_modules.shared.config import OptimizerName

PAPERS_MEASURED = ("ssn", "inspose")
MOST = 0.01
"""Share of a step that the vital signs may cost."""


class _Costs(NamedTuple):
    """Milliseconds."""

    step: float
    measurement: float
    shares: float


def costs_of(config: RunConfig, batch: PoseBatch, setting: Setting) -> _Costs:
    module: Any = load(PAPERS[config.paper].module)(config.model, config.optimizer, COCO).to(setting.device).train()
    module.log = module.log_dict = lambda *_, **__: None
    kind = torch.optim.SGD if config.optimizer.name is OptimizerName.sgd else torch.optim.Adam
    optimizer = kind([one for one in module.parameters() if one.requires_grad], lr=1e-9)
    trainer: Any = SimpleNamespace(precision_plugin=SimpleNamespace(train_step_context=contextlib.nullcontext))

    def step() -> None:
        optimizer.zero_grad()
        with setting.autocast():
            loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()

    def measurement() -> None:
        held = hold(module, optimizer)
        assert held is not None
        start_copy(measure(held, optimizer))[0].tolist()

    runs = {"step": step, "measurement": measurement, "shares": lambda: term_shares(trainer, module, batch)}
    return _Costs(**setting.race(runs, repeats=5, budget=20.0))


def line_of(paper: str, root: Path, setting: Setting) -> Line:
    """Milliseconds added to a step; the limit is the share of the step that is allowed."""
    config = compose(paper, "smoke")
    every = config.trainer.vitals_every_steps
    assert every is not None
    batch = batch_of(config, root, config.data.batch_size, setting)
    costs = costs_of(config, batch, setting)
    added = costs.measurement / every + costs.shares / (every * TERMS_EVERY)
    size = "×".join(str(side) for side in batch.images.shape[-2:])
    return Line(
        f"vital signs, {paper}, {len(batch.images)} × {size}",
        added,
        naive=costs.measurement + costs.shares,
        limit=MOST * costs.step,
        against="limit",
        asked=1.0,
        note=f"{100 * added / costs.step:.2g} % of a step of {costs.step:.0f} ms; a measurement takes "
        f"{costs.measurement:.1f} ms every {every} steps, the loss terms' shares {costs.shares:.0f} ms every "
        f"{every * TERMS_EVERY}; naive: both in every step",
        without={"peer": "no peer measures them"},
    )


def lines(setting: Setting) -> list[Line]:
    """One line per paper."""
    with tempfile.TemporaryDirectory() as folder:
        root = setting.data
        if root is None:
            root = Path(folder) / "rendered"
            make_dataset(root, RenderedConfig(train_images=1, val_images=8, size=256), progress=False)
        return [line_of(paper, root, setting) for paper in PAPERS_MEASURED]


def main() -> None:
    torch.set_num_threads(1)
    for line in lines(Setting()):
        print(f"{line.name:>40} {line.ours:8.3f} {line.unit} a step, allowed {line.limit:.3f}  {line.note}")


if __name__ == "__main__":
    main()
