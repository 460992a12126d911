"""Forward and backward of each paper's whole model with its targets and losses, against the straightforward form.

    python -m experiments.benchmarks.training_step

Random weights, people as the paper evaluates them. The straightforward form is the same module in fp32, channels first,
not compiled; ours has channels last, and on a GPU bf16, and is compiled where asked for. (What targets made in workers
would cost stands in the lines of targets.) On a CPU inputs are small, so that a line takes seconds.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from datamodules.config import RenderedConfig
from datamodules.contracts import PoseBatch
from datamodules.synthetic import make_dataset
from experiments.benchmarks.end_to_end import BACKBONE, batch_of, plain_module_of, with_format
from experiments.benchmarks.measuring import Line, Setting
from experiments.config import compose


class Case(NamedTuple):
    paper: str
    overrides: tuple[str, ...]
    small: tuple[str, ...]
    """More, for a CPU."""
    batch: int
    """Samples on a GPU; two on a CPU."""


CASES = (
    Case("inspose", (BACKBONE,), ("data.size=192", "data.max_size=256"), 8),
    Case("ssn", (BACKBONE,), ("data.crop_size=[128,96]",), 64),
    Case("graph_pcnn", (BACKBONE,), ("data.crop_size=[128,96]",), 64),
    Case("ssa", (BACKBONE,), ("data.size=192",), 8),
    Case("openpose_ssal", ("model.network.weights=null",), ("data.size=128",), 8),
)


def step(module: Any, batch: PoseBatch, setting: Setting) -> None:
    """Gradients of one batch, then away with them."""
    with setting.autocast():
        loss = module.training_step(batch, 0)
    loss.backward()
    module.zero_grad(set_to_none=True)


def module_to_train(config: Any, setting: Setting, *, is_plain: bool) -> Any:
    """``is_plain``: as it is built; else with channels last, and compiled where asked for."""
    module = plain_module_of(config, setting)
    module.requires_grad_(True).train()
    if is_plain:
        module.network.to(memory_format=torch.contiguous_format)
        return module
    module.network.to(memory_format=torch.channels_last)
    if setting.compile:
        module.network = torch.compile(module.network)
    return module


def operations(module: Any, batch: PoseBatch) -> float:
    """Floating-point operations of a step: two a multiply-accumulate of products and convolutions."""
    counter = FlopCounterMode(display=False)
    with counter:
        step(module, batch, Setting())
    return float(counter.get_total_flops())


def matrix_rate(setting: Setting) -> float:
    """Operations a second of a large product of matrices, measured."""
    side = 8192 if setting.is_gpu else 1024
    dtype = torch.bfloat16 if setting.is_gpu else torch.float32
    left, right = (torch.randn(side, side, device=setting.device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / (setting.race({"product": lambda: left @ right})["product"] / 1e3)


def measure(case: Case, root: Path, setting: Setting, rate: float) -> Line:
    """Milliseconds a sample."""
    config = compose(case.paper, None, [*case.overrides, *(() if setting.is_gpu else case.small)])
    size = case.batch if setting.is_gpu else 2
    batch = batch_of(config, root, size, setting)
    batch = batch._replace(images=batch.images.contiguous())
    plain, ours = (module_to_train(config, setting, is_plain=is_plain) for is_plain in (True, False))
    runs = {
        "plain": partial(step, plain, batch, Setting()),
        "ours": partial(step, ours, with_format(batch), setting),
    }
    times = {name: value / size for name, value in setting.race(runs, repeats=2, budget=3.0).items()}
    done = operations(plain, batch) / size
    note = f"{1e3 / times['ours']:.1f} images/s; {100 * done / rate / (times['ours'] / 1e3):.0f} % of a product's rate"
    if setting.is_gpu:
        torch.cuda.reset_peak_memory_stats()
        runs["ours"]()
        note += f"; {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at its peak"
    sides = "×".join(str(side) for side in batch.images.shape[-2:])
    form = "naive: fp32, channels first" + (", not compiled" if setting.compile else "")
    return Line(f"training, {case.paper}, {size} × {sides}", times["ours"], times["plain"], note=f"{note}; {form}")


def lines(setting: Setting, cases: tuple[Case, ...] = CASES) -> list[Line]:
    """One line per paper."""
    with tempfile.TemporaryDirectory() as folder:
        root = setting.data
        if root is None:
            root = Path(folder) / "rendered"
            make_dataset(root, RenderedConfig(train_images=1, val_images=8, size=256), progress=False)
        rate = matrix_rate(setting)
        return [measure(case, root, setting, rate) for case in cases]


def main() -> None:
    torch.set_num_threads(1)
    for line in lines(Setting()):
        print(f"{line.name:>40} {line.ours:8.0f} ms a sample, plain {line.naive:.0f}  {line.note}")


if __name__ == "__main__":
    main()
