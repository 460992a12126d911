"""What others train for pose estimation: their loss on a batch of ours, with random weights, where it is installed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from datamodules.contracts import PoseBatch
from experiments.benchmarks.measuring import Setting
from experiments.benchmarks.peers import Peer, padded, peers_of


@dataclass(frozen=True)
class Learner:
    """A network and its loss on a batch."""

    module: nn.Module
    loss: Callable[[], Tensor]

    def __call__(self) -> Tensor:
        return self.loss()

    def step(self) -> None:
        """Gradients, then away with them."""
        self.loss().backward()
        self.module.zero_grad(set_to_none=True)


class People(NamedTuple):
    """Those of one picture that others' losses take: whose box is no line."""

    boxes: Tensor
    """f32 [n, 4], x0 y0 x1 y1, input pixels."""
    keypoints: Tensor
    """f32 [n, K, 3], x, y, and 1 where labelled, else 0."""


def people_of(batch: PoseBatch) -> list[People]:
    """The people of each picture."""
    found, persons = [], batch.persons
    for image in range(len(persons.boxes)):
        boxes = persons.boxes[image]
        chosen = persons.is_real[image] & ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
        labelled = (persons.visibility[image] > 0).float()
        keypoints = torch.cat([persons.keypoints[image], labelled[..., None]], dim=2)
        found.append(People(boxes[chosen], keypoints[chosen]))
    return found


def keypoint_rcnn(batch: PoseBatch, setting: Setting) -> Learner:
    """On the same pixels, padding included, its sampling of regions as it is; without weights all its layers learn."""
    from torchvision.models.detection import keypointrcnn_resnet50_fpn

    sides = batch.images.shape[-2:]
    options = {"weights": None, "weights_backbone": None, "min_size": min(sides), "max_size": max(sides)}
    network = keypointrcnn_resnet50_fpn(**options).train().to(setting.device)  # its loss refuses channels last
    targets = [
        {"boxes": people.boxes, "keypoints": people.keypoints, "labels": torch.ones_like(people.boxes[:, 0]).long()}
        for people in people_of(batch)
    ]
    images = list(batch.images)

    def loss() -> Tensor:
        with setting.autocast():
            terms: dict[str, Tensor] = network(images, targets)
            return torch.stack([term.float() for term in terms.values()]).sum()

    return Learner(network, loss)


def simple_baseline(batch: PoseBatch, setting: Setting) -> Learner:
    """Graph-PCNN's first stage alone, targets included, trained as ours are."""
    from experiments.benchmarks.end_to_end import BACKBONE, laid_out
    from experiments.benchmarks.training_step import loss_of, module_to_train
    from experiments.config import compose

    config = compose("graph_pcnn", None, [BACKBONE, "model.refinement=none"])
    module = module_to_train(config, setting, is_plain=False)
    return Learner(module, partial(loss_of, module, laid_out(batch, module.network), setting))


def yolo11m(batch: PoseBatch, setting: Setting) -> Learner:
    """Ultralytics' YOLO11m-pose with its own loss and the weights of it, pictures padded to multiples of 32."""
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())
    os.environ.setdefault("YOLO_OFFLINE", "true")
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import PoseModel

    network, images = PoseModel("yolo11m-pose.yaml", verbose=False), padded(batch.images)
    network.args = get_cfg()  # the loss's weights
    network.train().to(setting.device).to(memory_format=torch.channels_last)
    people = people_of(batch)
    corners = torch.cat([each.boxes for each in people])
    low, high = corners[:, :2], corners[:, 2:]
    size = corners.new_tensor([images.shape[3], images.shape[2]])
    keypoints = torch.cat([each.keypoints for each in people])
    keypoints = torch.cat([keypoints[..., :2] / size, keypoints[..., 2:]], dim=2)
    given = {
        "img": images,
        "batch_idx": torch.cat([corners.new_full((len(each.boxes),), n) for n, each in enumerate(people)]),
        "cls": torch.zeros_like(corners[:, :1]),
        "bboxes": torch.cat([low + high, 2 * (high - low)], dim=1) / (2 * size.repeat(2)),  # middle, width and height
        "keypoints": keypoints,
    }

    def loss() -> Tensor:
        with setting.autocast():
            total: Tensor = network.loss(given)[0].sum()
        return total

    return Learner(network, loss)


LEARNERS = {
    "Keypoint R-CNN": Peer(keypoint_rcnn),
    "SimpleBaseline": Peer(simple_baseline),
    "yolo11m-pose": Peer(yolo11m, ("ultralytics",)),
}


def learners_of(names: tuple[str, ...], batch: PoseBatch, setting: Setting) -> tuple[dict[str, Learner], list[str]]:
    """Those of ``names`` that run here, each tried once, and a phrase on each that does not."""
    found, missing = peers_of(names, batch, setting, LEARNERS)
    return {name: run for name, run in found.items() if isinstance(run, Learner)}, missing
