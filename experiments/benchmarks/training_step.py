"""Forward and backward of each paper's whole model with its targets and losses, against the straightforward form.

    python -m experiments.benchmarks.training_step

Random weights, people as the paper evaluates them. The straightforward form is the same module in fp32, channels first,
not compiled, its targets drawn in numpy on the host, person by person and joint by joint; ours has channels last (but
SSN on a CPU) and targets drawn on the device, and on a GPU bf16, and is compiled where asked for. On a CPU drawing
counts as all work does. Beside a GPU workers would draw while it computes: the step then only waits for the copy, and
the note tells what a worker spends. Peers' steps are their own losses on the same pixels and people. On a CPU inputs
are small, so that a line takes seconds.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor
from torch.utils._pytree import tree_map_only

from datamodules.config import RenderedConfig
from datamodules.contracts import Persons, PoseBatch
from datamodules.synthetic import make_dataset
from experiments.benchmarks.end_to_end import BACKBONE, FROM_THE_START, batch_of, laid_out, plain_module_of
from experiments.benchmarks.host_targets import ENCODERS
from experiments.benchmarks.measuring import Line, Run, Setting
from experiments.benchmarks.products import operations, race_beside_product
from experiments.benchmarks.ssa_attention import kept_for_backward
from experiments.benchmarks.training_peers import learners_of
from experiments.config import compose
from lightning_modules.shared.inference_form import memory_format_of


class Case(NamedTuple):
    paper: str
    overrides: tuple[str, ...]
    small: tuple[str, ...]
    """More, for a CPU."""
    batch: int
    """Samples on a GPU; two on a CPU."""
    peers: tuple[str, ...]
    """Of ``training_peers.LEARNERS``."""
    note: str = ""


WHOLE = ("yolo11m-pose",)
CROP = ("SimpleBaseline",)
REGIONS = "Keypoint R-CNN learns from up to 512 regions a picture, however small it is"
CASES = (
    Case("inspose", (BACKBONE,), ("data.size=192", "data.max_size=256"), 8, ("Keypoint R-CNN", *WHOLE), REGIONS),
    Case("ssn", (BACKBONE, FROM_THE_START), ("data.crop_size=[128,96]",), 64, CROP),
    Case("graph_pcnn", (BACKBONE,), ("data.crop_size=[128,96]",), 64, CROP, "ours is SimpleBaseline and more"),
    Case("ssa", (BACKBONE,), ("data.size=192",), 8, WHOLE),
    Case("openpose_ssal", ("model.network.weights=null",), ("data.size=128",), 8, WHOLE),
)


def loss_of(module: Any, batch: PoseBatch, setting: Setting) -> Tensor:
    with setting.autocast():
        loss: Tensor = module.training_step(batch, 0)
    return loss


def step(module: Any, batch: PoseBatch, setting: Setting) -> None:
    """Gradients of one batch, then away with them."""
    loss_of(module, batch, setting).backward()
    module.zero_grad(set_to_none=True)


class HostTargets:
    """Stands in for a paper's ``encode_targets``: drawn on the host, copied to the device.

    Beside a GPU they are drawn once, as a worker would have done it before the step, into pinned memory.

    Args:
        batch: on the device.
    """

    def __init__(self, paper: str, batch: PoseBatch, setting: Setting) -> None:
        self.encode, self.setting = ENCODERS[paper], setting
        self.batch: PoseBatch = move_data_to_device(batch, torch.device("cpu"))
        self.drawn: Any = None
        self.seconds = 0.0
        """That drawing took, the last time."""

    def __call__(self, given: PoseBatch | Persons, *rest: Any, **options: Any) -> Any:
        if self.drawn is None or not self.setting.is_gpu:
            start = time.process_time()
            host = self.batch.persons if isinstance(given, Persons) else self.batch
            self.drawn = self.encode(host, *rest, **options)
            self.seconds = time.process_time() - start
            if self.setting.is_gpu:
                self.drawn = tree_map_only(Tensor, Tensor.pin_memory, self.drawn)
        return move_data_to_device(self.drawn, torch.device(self.setting.device))


def with_targets_of(targets: HostTargets, module: Any, run: Callable[[], Any]) -> Any:
    """``run``, in which ``module`` takes its targets from the host."""
    with patch.object(import_module(type(module).__module__), "encode_targets", targets):
        return run()


def module_to_train(config: Any, setting: Setting, *, is_plain: bool) -> Any:
    """``is_plain``: as it is built; else with channels last where that is faster, and compiled where asked for."""
    module = plain_module_of(config, setting)
    module.requires_grad_(True).train()
    if is_plain:
        return module
    module.network.to(memory_format=memory_format_of(module.network))
    if setting.compile:
        module.network = torch.compile(module.network)
    return module


def memory(loss: Callable[[], Tensor], module: Any, setting: Setting) -> float:
    """Megabytes of a step: on a CPU what is kept for the backward pass, on a GPU the peak above what lay there."""
    if not setting.is_gpu:
        return kept_for_backward(loss, module) / 1e6
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    loss().backward()
    module.zero_grad(set_to_none=True)
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def utilisation(run: Run, setting: Setting, seconds: float = 1.5) -> float | None:
    """Percent of the time that the GPU computes while ``run`` is repeated; None on a CPU or without pynvml."""
    if not setting.is_gpu:
        return None
    readings, end = [], time.perf_counter() + seconds
    with contextlib.suppress(ModuleNotFoundError, RuntimeError):
        while time.perf_counter() < end:
            run()
            readings.append(torch.cuda.utilization())
    late = readings[len(readings) // 2 :]  # a reading is of the time before it
    return sum(late) / len(late) if late else None


def measure(case: Case, root: Path, setting: Setting) -> list[Line]:
    """Milliseconds a sample, and megabytes of a batch."""
    config = compose(case.paper, None, [*case.overrides, *(() if setting.is_gpu else case.small)])
    size = case.batch if setting.is_gpu else 2
    batch = batch_of(config, root, size, setting)
    batch = batch._replace(images=batch.images.contiguous())
    plain, ours = (module_to_train(config, setting, is_plain=is_plain) for is_plain in (True, False))
    targets, last = HostTargets(case.paper, batch, setting), laid_out(batch, ours.network)
    others, missing = learners_of(case.peers, batch, setting)
    runs: dict[str, Run] = {
        "plain": partial(with_targets_of, targets, plain, partial(step, plain, batch, Setting())),
        "ours": partial(step, ours, last, setting),
    }
    work = operations(partial(step, plain, batch, Setting())) / size
    runs["ours"]()  # as warm as the others, which have been counted or tried
    runs |= {name: other.step for name, other in others.items()}
    times, limit = race_beside_product(setting, runs, work, repeats=2, budget=3.0, warm=setting.is_gpu)
    times = {name: value / size for name, value in times.items()}
    kept = {
        "plain": memory(
            partial(with_targets_of, targets, plain, partial(loss_of, plain, batch, Setting())), plain, setting
        ),
        "ours": memory(partial(loss_of, ours, last, setting), ours, setting),
        **{name: memory(other.loss, other.module, setting) for name, other in others.items()},
    }
    note = [f"{1e3 / times['ours']:.1f} images/s; {100 * limit / times['ours']:.0f} % of a product's rate, the limit"]
    if (busy := utilisation(runs["ours"], setting)) is not None:
        note.append(f"the device computes {busy:.0f} % of the time")
    form = "naive: fp32, channels first" + (", not compiled" if setting.compile else "")
    where = "by a worker before the step, which copies them" if setting.is_gpu else "in the step"
    form += f", targets drawn joint by joint on the host in {1e3 * targets.seconds / size:.1f} ms a sample, {where}"
    told = "; ".join(part for part in (*note, form, case.note, *missing) if part)
    name = f"training, {case.paper}, {size} × {'×'.join(str(side) for side in batch.images.shape[-2:])}"
    what = "the step's peak above the weights" if setting.is_gpu else "kept for the backward pass; all in fp32"
    return [
        _line(name, times, list(others), limit=limit, note=told),
        _line(f"{name}, memory", kept, list(others), unit="MB", note=what),
    ]


def _line(name: str, figures: dict[str, float], others: list[str], **more: Any) -> Line:
    """Ours, the straightforward form's and each of ``others``' figure; memory has no limit."""
    peers = {each: figures[each] for each in others}
    without = {} if peers else {"peer": "none is installed"}
    if "limit" not in more:
        without["limit"] = "whatever is kept could be computed again"
    return Line(
        name,
        figures["ours"],
        figures["plain"],
        min(peers.values(), default=None),
        peers=peers,
        without=without,
        why_behind="a smaller network",
        **more,
    )


def lines(setting: Setting, cases: tuple[Case, ...] = CASES) -> list[Line]:
    """Two lines per paper."""
    with tempfile.TemporaryDirectory() as folder:
        root = setting.data
        if root is None:
            root = Path(folder) / "rendered"
            make_dataset(root, RenderedConfig(train_images=1, val_images=8, size=256), progress=False)
        return [line for case in cases for line in measure(case, root, setting)]


def main() -> None:
    torch.set_num_threads(1)
    for line in lines(Setting()):
        print(f"{line.name:>48} {line.ours:8.0f} {line.unit}, naive {line.naive:.0f}  {line.note}")


if __name__ == "__main__":
    main()
