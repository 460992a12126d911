"""What others use for pose estimation, with random weights on the pictures of our own lines, where it is installed.

torchvision's Keypoint R-CNN and our own SimpleBaseline are always there. ``make bench-peers`` installs the others in a
folder of their own: Ultralytics' pose models from their YAML (AGPL, so never a dependency) and MMPose's reference
models. Each does its network and its decoding.
"""

from __future__ import annotations

import os
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from datamodules.contracts import PoseBatch
from datamodules.skeleton import COCO
from experiments.benchmarks.measuring import Run, Setting

FOUND = 20
"""People that Keypoint R-CNN and RTMO look at in a picture, whatever their weights are."""
STRIDE = 32
"""Of whole-image peers: their input is padded to a multiple of it."""


class Peer(NamedTuple):
    make: Callable[[PoseBatch, Setting], Run]
    needs: tuple[str, ...] = ()
    """Packages beyond the suite's own."""


def peers_of(
    names: tuple[str, ...],
    batch: PoseBatch,
    setting: Setting,
    table: Mapping[str, Peer] | None = None,
    trial: Callable[[str, Run], object] = lambda name, run: run(),
) -> tuple[dict[str, Run], list[str]]:
    """The peers of ``names`` that run here, each tried once, and a phrase on each that does not.

    Args:
        batch: normalised; of whole pictures or of crops, as the peers take them.
        table: by name; None takes ``PEERS``.
        trial: what is done with each, by its name.
    """
    table = PEERS if table is None else table
    found: dict[str, Run] = {}
    missing: list[str] = []
    for name in names:
        absent = [package for package in table[name].needs if find_spec(package) is None]
        if absent:
            missing.append(f"{name}: not installed")
            continue
        try:
            torch.manual_seed(0)
            with redirect_stdout(sys.stderr), warnings.catch_warnings():  # some greet, most warn
                warnings.simplefilter("ignore")
                run = table[name].make(batch, setting)
                trial(name, run)
        except Exception as error:  # other people's code beside versions it was not made for
            missing.append(f"{name}: does not run here ({type(error).__name__})")
        else:
            found[name] = run
    return found, missing


def keypoint_rcnn(batch: PoseBatch, setting: Setting, min_size: int = 800, max_size: int = 1333) -> Run:
    """On the same pixels; its own transform normalises and resizes them to where they are already."""
    from torchvision.models.detection import keypointrcnn_resnet50_fpn

    options = {"weights": None, "weights_backbone": None, "box_detections_per_img": FOUND, "box_score_thresh": 0.0}
    network = setting.place(keypointrcnn_resnet50_fpn(min_size=min_size, max_size=max_size, **options))
    sizes = batch.meta.input_hw.tolist()
    images = [
        image[:, :height, :width].contiguous() for image, (height, width) in zip(batch.images, sizes, strict=True)
    ]
    return _asked(setting, lambda: network(images))


def simple_baseline(batch: PoseBatch, setting: Setting) -> Run:
    """Graph-PCNN's first stage, asked as ours are, with its flip test: networks compared, not forms."""
    from experiments.benchmarks.end_to_end import BACKBONE, laid_out, module_of
    from experiments.config import compose

    module = module_of(compose("graph_pcnn", None, [BACKBONE, "model.refinement=none"]), setting)
    asked = laid_out(batch, module.network)
    return _asked(setting, lambda: module.predict(asked))


def yolo(name: str) -> Peer:
    """One of Ultralytics' pose models, suppression included."""

    def make(batch: PoseBatch, setting: Setting) -> Run:
        os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())  # it writes settings when it is imported
        os.environ.setdefault("YOLO_OFFLINE", "true")
        from ultralytics.nn.tasks import PoseModel
        from ultralytics.utils.nms import non_max_suppression

        network, images = setting.place(PoseModel(f"{name}.yaml", verbose=False)), padded(batch.images)
        return _asked(setting, lambda: non_max_suppression(network(images)[0].float(), nc=1))

    return Peer(make, ("ultralytics",))


def mmpose(file: str) -> Peer:
    """One of MMPose's reference models as its file says, flip test and decoding included."""

    def make(batch: PoseBatch, setting: Setting) -> Run:
        network = setting._replace(compile=False).place(_mmpose_model(file))
        _decode_in_f32(network.head, setting.device)
        images = padded(batch.images)
        samples = [_mmpose_sample(images) for _ in images]
        return _asked(setting, lambda: network(images, samples, mode="predict"))

    return Peer(make, ("mmpose", "mmdet", "mmcv", "mmengine"))


def padded(images: Tensor) -> Tensor:
    """[B, 3, H, W] with zeros right and below, up to multiples of ``STRIDE``."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, -width % STRIDE, 0, -height % STRIDE))


def _asked(setting: Setting, run: Run) -> Run:
    def ask() -> object:
        with torch.no_grad(), setting.autocast(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run()

    return ask


def _mmpose_model(file: str) -> Any:
    stand_in_for_extensions()
    import mmpose
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpose.models import build_pose_estimator

    init_default_scope("mmpose")
    (folder,) = mmpose.__path__
    model = Config.fromfile(Path(folder, ".mim", "configs", "body_2d_keypoint", file)).model
    model.test_cfg.nms_pre = FOUND  # of a whole picture; random weights would have it decode every cell
    return build_pose_estimator(model)  # random: only its init_weights() would download any


def stand_in_for_extensions() -> None:
    """Importing MMPose's models needs two compiled packages that none of those here uses: xtcocotools, built for an
    older numpy, whose interface is pycocotools', and one operator of mmcv by its name."""
    for name in ("", ".coco", ".cocoeval", ".mask"):
        sys.modules.setdefault(f"xtcocotools{name}", import_module(f"pycocotools{name}"))
    operators: Any = types.ModuleType("mmcv.ops")
    operators.MultiScaleDeformableAttention = nn.Identity
    sys.modules.setdefault("mmcv.ops", operators)


def _mmpose_sample(images: Tensor) -> Any:
    """What its decoding asks of a picture: the input is the whole of it."""
    import numpy as np
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample

    height, width = images.shape[-2:]
    size = np.array([width, height])
    about = {"input_size": (width, height), "input_center": size / 2, "input_scale": size.astype(np.float32)}
    sample = PoseDataSample(metainfo={**about, "flip_indices": list(COCO.flip_permutation)})
    box = np.array([[0, 0, width, height]], dtype=np.float32)
    sample.gt_instances = InstanceData(bboxes=box, bbox_scores=np.ones(1, np.float32))
    return sample


def _decode_in_f32(head: Any, device: str) -> None:
    """Decoding in numpy knows no bf16: heatmaps are given in f32; RTMO's head decodes inside and runs so as a whole."""
    forward, predict = head.forward, head.predict

    def answer_in_f32(*given: Any, **options: Any) -> Any:
        answer = forward(*given, **options)
        return answer.float() if isinstance(answer, Tensor) else answer

    def run_in_f32(maps: Any, *given: Any, **options: Any) -> Any:
        with torch.autocast(device, enabled=False):
            return predict(tuple(each.float() for each in maps), *given, **options)

    head.forward = answer_in_f32
    if hasattr(head, "dcc"):
        head.predict = run_in_f32


PEERS = {
    "Keypoint R-CNN": Peer(keypoint_rcnn),
    "SimpleBaseline": Peer(simple_baseline),
    "yolo11m-pose": yolo("yolo11m-pose"),
    "yolov8m-pose": yolo("yolov8m-pose"),
    "RTMO-s": mmpose("rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py"),
    "MMPose R50": mmpose("topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py"),
    "HRNet-W32": mmpose("topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py"),
}
