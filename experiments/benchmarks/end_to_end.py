"""From a loaded picture to people, each paper's model at its test size, and the share that decoding takes of it.

    python -m experiments.benchmarks.end_to_end

Random weights, one picture or crop at a time (16 too with ``--full``), beside the peers that are installed, on the same
pixels. Ours is the network as ``experiments.predict`` asks it; the naive form is the module as it is trained: fp32,
channels first, not compiled. The limit is the model's products at the rate of a large one. Decoding is measured by
itself, the network's answers given again. What random weights find is no guide to how long people take to decode:
InsPose, Keypoint R-CNN and RTMO are made to look at 20, the bottom-up papers decode what their network would say of the
true people.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import move_data_to_device
from torch import nn

from datamodules.coco import CocoDataModule
from datamodules.config import RenderedConfig
from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from datamodules.synthetic import make_dataset
from experiments.benchmarks.decoding import (
    CONTENTS,
    NOBODYS,
    ONE_BY_ONE,
    READ_LESS,
    READERS,
    READING,
    Recorded,
    decoding_of_truth,
    one_by_one,
)
from experiments.benchmarks.measuring import Line, Run, Setting
from experiments.benchmarks.peers import FOUND, peers_of
from experiments.benchmarks.products import operations, race_beside_product
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
    why_behind: str
    """Why peers are faster."""


BACKBONE = "model.backbone.weights=null"
FROM_THE_START = "model.feature_shift.insert_step=0"
"""SSN's modules, that training inserts later."""
WHOLE = ("yolo11m-pose", "yolov8m-pose", "RTMO-s")
FEWER = "they multiply a fraction of it"
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
        FEWER,
    ),
    Model(
        "ssn",
        None,
        (BACKBONE, FROM_THE_START),
        CROP,
        "peer",
        None,
        "all with flip test",
        "its modules multiply as much again as its trunk, then move, weigh and normalise what they made",
    ),
    Model("graph_pcnn", None, (BACKBONE,), CROP, "peer", None, "all with flip test", "ours is SimpleBaseline and more"),
    Model("ssa", None, (BACKBONE,), WHOLE, "peer", None, "", FEWER),
    Model(
        "openpose_ssal",
        "single_scale",
        ("model.network.weights=null",),
        WHOLE,
        "peer",
        None,
        "one scale, 368 pixels, peers' padded to multiples of 32",
        FEWER,
    ),
)


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


def measure(model: Model, root: Path, size: int, setting: Setting) -> list[Line]:
    """Two lines: the whole of a batch, and its decoding."""
    config = compose(model.paper, model.preset, list(model.overrides))
    batch, module = batch_of(config, root, size, setting), module_of(config, setting)
    asked = laid_out(batch, module.network)

    def ours() -> Any:
        with setting.autocast():
            return module.predict_step(asked, 0)

    label = f"{model.paper}, {size} × {'×'.join(str(side) for side in batch.images.shape[-2:])}"
    whole = inference(model, config, batch, ours, setting)
    part = decoding(module, batch, ours, whole.ours, setting)
    return [whole._replace(name=f"inference, {label}"), part._replace(name=f"decoding, {label}")]


@torch.no_grad()
def inference(model: Model, config: RunConfig, batch: PoseBatch, ours: Run, setting: Setting) -> Line:
    """The whole of a batch, beside the module as it is trained, its peers and the rate of products."""
    plain = plain_module_of(config, setting)
    images = batch.images.contiguous()
    runs: dict[str, Run] = {"ours": ours, "naive": lambda: plain.predict_step(batch._replace(images=images), 0)}
    work: dict[str, float] = {}

    def count(name: str, run: Run) -> None:
        work[name] = operations(run)

    peers, missing = peers_of(model.peers, batch, setting, trial=count)
    for name, run in runs.items():
        count(name, run)
    runs |= peers  # all of them warm
    times, limit = race_beside_product(setting, runs, work["naive"], repeats=3, budget=10.0, warm=setting.compile)
    found = {name: times[name] for name in peers}
    counts = ", ".join(f"{name} {work[name] / 2e9:.3g}" for name in ("ours", *peers))
    share = f"{100 * limit / times['ours']:.0f} % of a large product's rate, the limit"
    told = (share, f"billion multiply-accumulates: {counts}", model.note, *missing)
    return Line(
        "inference",
        times["ours"],
        times["naive"],
        min(found.values(), default=None),
        limit,
        against=model.against,
        asked=model.asked,
        note="; ".join(part for part in told if part),
        peers=found,
        without=None if found else {"peer": "none is installed"},
        why_behind=model.why_behind,
    )


@torch.no_grad()
def decoding(module: Any, batch: PoseBatch, ours: Run, whole: float, setting: Setting) -> Line:
    """All but the network, beside the same one by one and what others use.

    Args:
        ours: inference of ``batch`` by ``module``.
        whole: milliseconds of it.
    """
    paper = module.hparams.paper
    recorded, truth = Recorded(module.network, ours), decoding_of_truth(module, batch)
    rest = partial(recorded.again, ours)
    mine = rest if truth is None else truth
    peers, missing = peers_of(READERS[paper], batch, setting, READING)
    runs: dict[str, Run] = {"rest": rest, "ours": mine, "naive": partial(one_by_one, module, mine), **peers}
    times = setting.race(runs, repeats=5, budget=2.0)
    network = whole - times["rest"]
    truly = int((batch.persons.visibility > 0).any(2).sum())
    taken = network + times["ours"]
    note = (
        f"{100 * times['ours'] / taken:.1f} % of inference; limit: a tenth of it; "
        + ("" if truth is None else f"the true people ({truly}): ")
        + CONTENTS[paper]
        + f"; naive: {ONE_BY_ONE[paper]}"
        + (", less work than a batch's form for so few" if truth is not None and times["naive"] < times["ours"] else "")
        + "".join(f"; peer: {name}" for name in peers)
    )
    peer = min((times[name] for name in peers), default=None)
    why = "; ".join(missing) or NOBODYS.get(paper, "")
    return Line(
        "decoding",
        times["ours"],
        times["naive"],
        peer,
        SHARE * taken,
        against="limit",
        asked=1.0,
        note=note,
        without=None if peers else {"peer": why},
        why_behind=READ_LESS.get(paper, ""),
    )


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
