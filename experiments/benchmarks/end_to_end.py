"""From a loaded picture to people, each paper's model at its test size, and the share that decoding takes of it.

    python -m experiments.benchmarks.end_to_end

Random weights, one picture or crop at a time (16 too with ``--full``), beside the peers that are installed, on the same
pixels. Ours is the network as ``experiments.predict`` asks it; the naive form is the module as it is trained: fp32,
channels first, not compiled. What random weights find is no guide to how long people take to decode: InsPose, Keypoint
R-CNN and RTMO are made to look at 20, the bottom-up papers decode what their network would say of the true people.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import move_data_to_device
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from datamodules.coco import CocoDataModule
from datamodules.config import RenderedConfig
from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from datamodules.synthetic import make_dataset
from experiments.benchmarks.measuring import Line, Run, Setting
from experiments.benchmarks.peers import FOUND, peers_of
from experiments.benchmarks.table import note_of
from experiments.config import RunConfig, compose
from lightning_modules.papers import PAPERS, load
from lightning_modules.shared.inference_form import inference_form, memory_format_of

SHARE = 0.10
"""Of an inference, what decoding may take."""


class Model(NamedTuple):
    paper: str
    preset: str | None
    overrides: tuple[str, ...]
    peers: tuple[str, ...]
    against: str
    asked: float | None
    note: str


BACKBONE = "model.backbone.weights=null"
FROM_THE_START = "model.feature_shift.insert_step=0"
"""SSN's modules, that training inserts later."""
WHOLE = ("yolo11m-pose", "yolov8m-pose", "RTMO-s")
CROP = ("SimpleBaseline", "MMPose R50", "HRNet-W32")
MODELS = (
    Model(
        "inspose",
        None,
        (BACKBONE, "model.score_threshold=0", f"model.max_candidates={FOUND}"),
        ("Keypoint R-CNN", *WHOLE),
        "Keypoint R-CNN",
        1.0,
        f"it, ours and RTMO look at {FOUND} people",
    ),
    Model("ssn", None, (BACKBONE, FROM_THE_START), CROP, "peer", None, "all with flip test"),
    Model("graph_pcnn", None, (BACKBONE,), CROP, "peer", None, "all with flip test; ours is SimpleBaseline and more"),
    Model("ssa", None, (BACKBONE,), WHOLE, "peer", None, ""),
    Model(
        "openpose_ssal",
        "single_scale",
        ("model.network.weights=null",),
        WHOLE,
        "peer",
        None,
        "one scale, 368 pixels, peers' padded to multiples of 32",
    ),
)


class Stopwatch:
    """Adds up the time inside a network, call by call."""

    def __init__(self, network: nn.Module, setting: Setting) -> None:
        self.clock = setting.clock
        self.total = 0.0
        network.register_forward_pre_hook(self._begin)
        network.register_forward_hook(self._end)

    def _begin(self, *_: Any) -> None:
        self.start = self.clock()

    def _end(self, *_: Any) -> None:
        self.total += self.clock() - self.start

    def read(self) -> float:
        """Seconds since the last reading."""
        total, self.total = self.total, 0.0
        return total


def plain_module_of(config: RunConfig, setting: Setting) -> Any:
    """The paper's module as it is trained."""
    torch.manual_seed(0)
    module = load(PAPERS[config.paper].module)(config.model, config.optimizer, COCO).eval().to(setting.device)
    return module.requires_grad_(False)


def module_of(config: RunConfig, setting: Setting) -> Any:
    """The same with its network in the form it is asked in."""
    module = plain_module_of(config, setting)
    module.network = setting.place(inference_form(module.network))
    return module


def batch_of(config: RunConfig, root: Path, size: int, setting: Setting) -> PoseBatch:
    """The first ``size`` samples that the paper evaluates, normalised."""
    config.data.root, config.data.num_workers = str(root), 0
    config.data.val_batch_size, config.data.limit_val = size, size
    data = CocoDataModule(config.data, COCO)
    data.setup("validate")
    batch = move_data_to_device(next(iter(data.val_dataloader())), torch.device(setting.device))
    batch = data.on_after_batch_transfer(batch, 0)
    if not setting.is_gpu:
        return batch
    return batch._replace(images=batch.images.contiguous(memory_format=torch.channels_last))


def laid_out(batch: PoseBatch, network: nn.Module) -> PoseBatch:
    """``batch`` with its images as ``network`` takes them."""
    return batch._replace(images=batch.images.contiguous(memory_format=memory_format_of(network)))


def decoding_of_truth(module: Any, batch: PoseBatch) -> Run | None:
    """Decoding of the targets of a batch, their making included, where what random weights say is too odd to decode."""
    if module.hparams.paper == "ssa":
        from lightning_modules.ssa.oracle import ceiling as of_ssa

        return lambda: of_ssa(batch, module.config, COCO)
    if module.hparams.paper == "openpose_ssal":
        from lightning_modules.openpose_ssal.oracle import Localisation
        from lightning_modules.openpose_ssal.oracle import ceiling as of_openpose

        return lambda: of_openpose(batch, module.parts, module.config, Localisation.offsets)
    return None


@torch.no_grad()
def gmac(run: Run) -> float:
    """Billion multiply-accumulates of its products and convolutions: what a faster peer saves, or does not."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 2e9


def measure(model: Model, root: Path, size: int, setting: Setting) -> list[Line]:
    """Two lines: the whole of a batch, and its decoding."""
    config = compose(model.paper, model.preset, list(model.overrides))
    batch, module = batch_of(config, root, size, setting), module_of(config, setting)
    watch, inside, asked = Stopwatch(module.network, setting), [], laid_out(batch, module.network)

    def ours() -> None:
        with setting.autocast():
            module.predict_step(asked, 0)
        inside.append(watch.read())

    plain = plain_module_of(config, setting)
    images = batch.images.contiguous()
    runs: dict[str, Run] = {"ours": ours, "naive": lambda: plain.predict_step(batch._replace(images=images), 0)}
    truth = decoding_of_truth(module, batch)
    if truth is not None:
        runs["truth"] = truth
    peers, missing = peers_of(model.peers, batch, setting)
    with torch.no_grad():
        times = setting.race(runs | peers, repeats=3, budget=10.0)
    network = 1e3 * median(inside[1:])
    decoding = times.get("truth", times["ours"] - network)
    label = f"{model.paper}, {size} × {'×'.join(str(side) for side in batch.images.shape[-2:])}"
    found = {name: times[name] for name in peers}
    work = ", ".join(f"{name} {gmac(run):.3g}" for name, run in {"ours": ours, **peers}.items())
    whole = Line(
        f"inference, {label}",
        times["ours"],
        times["naive"],
        min(found.values(), default=None),
        against=model.against,
        asked=model.asked,
        note="; ".join(part for part in (f"billion multiply-accumulates: {work}", model.note, *missing) if part),
        peers=found,
    )
    share = f"{100 * decoding / (network + decoding):.1f} % of inference; limit: a tenth of it"
    how = "the true people, their encoding included" if truth is not None else "all but the network"
    limit = SHARE * (network + decoding)
    part = Line(f"decoding, {label}", decoding, limit=limit, against="limit", asked=1.0, note=f"{share}; {how}")
    return [whole, part]


def lines(setting: Setting, models: tuple[Model, ...] = MODELS) -> list[Line]:
    """Two lines per paper and batch size."""
    found: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        root = setting.data
        if root is None:
            root = Path(folder) / "rendered"
            make_dataset(root, RenderedConfig(train_images=1, val_images=4, size=544), progress=False)
        for size in (1, 16) if setting.full else (1,):
            for model in models:
                found += measure(model, root, size, setting)
    return found


def main() -> None:
    torch.set_num_threads(1)
    for line in lines(Setting()):
        print(
            f"{line.name:>44} {line.ours:8.0f} ms"
            + (f", {line.peer:.0f} ms" if line.peer else "")
            + f"  {note_of(line)}"
        )


if __name__ == "__main__":
    main()
