"""From a loaded picture to people, each paper's model at its test size, and the share that decoding takes of it.

    python -m experiments.benchmarks.end_to_end

Random weights, one picture or crop at a time (16 too on a GPU with ``--full``), beside peers on the same pictures:
torchvision's Keypoint R-CNN for InsPose, SimpleBaseline for the top-down papers. What random weights find is no guide
to how long people take to decode: InsPose and Keypoint R-CNN are made to find 20, the bottom-up papers decode what
their network would say of the true people.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor, nn

from datamodules.coco import CocoDataModule
from datamodules.config import RenderedConfig
from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from datamodules.synthetic import make_dataset
from experiments.benchmarks.measuring import Line, Setting
from experiments.config import RunConfig, compose
from lightning_modules.papers import PAPERS, load

FOUND = 20
SHARE = 0.10
"""Of an inference, what decoding may take."""


class Model(NamedTuple):
    paper: str
    preset: str | None
    overrides: tuple[str, ...]
    peer: str | None
    asked: float | None
    note: str


BACKBONE = "model.backbone.weights=null"
YOLO = "yolo11m-pose"
MODELS = (
    Model(
        "inspose",
        None,
        (BACKBONE, "model.score_threshold=0", f"model.max_candidates={FOUND}"),
        "keypoint_rcnn",
        1.0,
        f"peer: torchvision's Keypoint R-CNN, R50-FPN, 800/1333; both find {FOUND} people",
    ),
    Model("ssn", None, (BACKBONE,), "simple_baseline", None, "peer: SimpleBaseline R50 on the same crop, flip test"),
    Model(
        "graph_pcnn",
        None,
        (BACKBONE,),
        "simple_baseline",
        None,
        "peer: SimpleBaseline R50 on the same crop, flip test: what Graph-PCNN adds to it",
    ),
    Model("ssa", None, (BACKBONE,), "yolo", None, f"peer: Ultralytics' {YOLO}, the network alone"),
    Model("openpose_ssal", "single_scale", ("model.network.weights=null",), None, None, "one scale, 368 pixels"),
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


def module_of(config: RunConfig, setting: Setting) -> Any:
    torch.manual_seed(0)
    module = load(PAPERS[config.paper].module)(config.model, config.optimizer, COCO).eval().to(setting.device)
    module.requires_grad_(False)
    module.network = setting.place(module.network)
    return module


def batch_of(config: RunConfig, root: Path, size: int, setting: Setting) -> PoseBatch:
    """The first ``size`` samples that the paper evaluates, normalised."""
    config.data.root, config.data.num_workers = str(root), 0
    config.data.val_batch_size, config.data.limit_val = size, size
    data = CocoDataModule(config.data, COCO)
    data.setup("validate")
    batch = move_data_to_device(next(iter(data.val_dataloader())), torch.device(setting.device))
    batch = data.on_after_batch_transfer(batch, 0)
    return with_format(batch) if setting.is_gpu else batch


def with_format(batch: PoseBatch) -> PoseBatch:
    return batch._replace(images=batch.images.to(memory_format=torch.channels_last))


def keypoint_rcnn(
    batch: PoseBatch, setting: Setting, min_size: int = 800, max_size: int = 1333
) -> Callable[[], object]:
    """On the same pixels; its own transform normalises and resizes them to where they are already."""
    from torchvision.models.detection import keypointrcnn_resnet50_fpn

    torch.manual_seed(0)
    options = {"weights": None, "weights_backbone": None, "box_detections_per_img": FOUND, "box_score_thresh": 0.0}
    network = setting.place(keypointrcnn_resnet50_fpn(min_size=min_size, max_size=max_size, **options))
    sizes = batch.meta.input_hw.tolist()
    images = [
        image[:, :height, :width].contiguous() for image, (height, width) in zip(batch.images, sizes, strict=True)
    ]
    return lambda: network(images)


def simple_baseline(batch: PoseBatch, setting: Setting) -> Callable[[], object]:
    module = module_of(compose("graph_pcnn", None, [BACKBONE, "model.refinement=none"]), setting)
    return lambda: module.predict(batch)


def yolo(batch: PoseBatch, setting: Setting) -> Callable[[], object]:
    """From its YAML, with random weights and without its suppression. Measured where it is installed; AGPL, so never
    a dependency.
    """
    from ultralytics.nn.tasks import PoseModel

    torch.manual_seed(0)
    network = setting.place(PoseModel(f"{YOLO}.yaml", verbose=False))
    return lambda: network(batch.images)


PEERS = {"keypoint_rcnn": keypoint_rcnn, "simple_baseline": simple_baseline, "yolo": yolo}
NEEDS = {"yolo": "ultralytics"}
"""Packages beyond the suite's own."""


def present(model: Model) -> Model:
    """``model``, without its peer where that is not installed."""
    package = NEEDS.get(model.peer or "")
    if package is None or find_spec(package) is not None:
        return model
    return model._replace(peer=None, note=f"{model.note}: not installed")


def decoding_of_truth(module: Any, batch: PoseBatch) -> Callable[[], object] | None:
    """Decoding of the targets of a batch, their making included, where what random weights say is too odd to decode."""
    if module.hparams.paper == "ssa":
        from lightning_modules.ssa.oracle import ceiling as of_ssa

        return lambda: of_ssa(batch, module.config, COCO)
    if module.hparams.paper == "openpose_ssal":
        from lightning_modules.openpose_ssal.oracle import Localisation
        from lightning_modules.openpose_ssal.oracle import ceiling as of_openpose

        return lambda: of_openpose(batch, module.parts, module.config, Localisation.offsets)
    return None


def measure(model: Model, root: Path, size: int, setting: Setting) -> list[Line]:
    """Two lines: the whole of a batch, and its decoding."""
    config = compose(model.paper, model.preset, list(model.overrides))
    batch, module = batch_of(config, root, size, setting), module_of(config, setting)
    watch, inside = Stopwatch(module.network, setting), []

    def ours() -> Tensor:
        predicted: Tensor = module.predict_step(batch, 0).scores
        inside.append(watch.read())
        return predicted

    runs: dict[str, Callable[[], object]] = {"ours": ours}
    if model.peer is not None:
        runs["peer"] = PEERS[model.peer](batch, setting)
    truth = decoding_of_truth(module, batch)
    if truth is not None:
        runs["truth"] = truth
    with torch.no_grad(), setting.autocast():
        times = setting.race(runs, repeats=3, budget=10.0)
    network = 1e3 * median(inside[1:])
    decoding = times.get("truth", times["ours"] - network)
    label = f"{model.paper}, {size} × {'×'.join(str(side) for side in batch.images.shape[-2:])}"
    share = f"{100 * decoding / (network + decoding):.1f} % of inference; limit: a tenth of it"
    how = "the true people, their encoding included" if truth is not None else "all but the network"
    limit = SHARE * (network + decoding)
    return [
        Line(
            f"inference, {label}",
            times["ours"],
            peer=times.get("peer"),
            against="peer",
            asked=model.asked,
            note=model.note,
        ),
        Line(f"decoding, {label}", decoding, limit=limit, against="limit", asked=1.0, note=f"{share}; {how}"),
    ]


def lines(setting: Setting, models: tuple[Model, ...] = MODELS) -> list[Line]:
    """Two lines per paper and batch size."""
    found: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        root = setting.data
        if root is None:
            root = Path(folder) / "rendered"
            make_dataset(root, RenderedConfig(train_images=1, val_images=4, size=544), progress=False)
        for size in (1, 16) if setting.full and setting.is_gpu else (1,):
            for model in models:
                found += measure(present(model), root, size, setting)
    return found


def main() -> None:
    torch.set_num_threads(1)
    for line in lines(Setting()):
        print(
            f"{line.name:>44} {line.ours:8.0f} ms" + (f", {line.peer:.0f} ms" if line.peer else "") + f"  {line.note}"
        )


if __name__ == "__main__":
    main()
