"""Where top-down papers look: boxes from a file, from torchvision's person detector, or the whole picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.config import DetectionsConfig
from datamodules.detections import DetectionError, check_values, load_entries, usable
from experiments.prediction.inputs import Picture

PERSON = 1
"""COCO's category id, torchvision's label too."""
LEAST_SCORE = 0.3
"""choice: the detector's boxes below this are not looked at."""


class Boxes(NamedTuple):
    """The n boxes of one picture, best first."""

    corners: NDArray[np.float32]
    """[n, 4], x0 y0 x1 y1, inside the picture, with an area."""
    scores: NDArray[np.float32]
    """[n]."""


class BoxSource(Protocol):
    def __call__(self, picture: Picture) -> Boxes: ...


def whole_image(picture: Picture) -> Boxes:
    """The picture as one person."""
    height, width = picture.pixels.shape[:2]
    return Boxes(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))


class BoxesFromFile:
    """COCO's detection results: a list of ``{image_id or file_name, category_id, bbox, score}``.

    An ``image_id`` is the picture's number as ``images.json`` lists it, or, where it is text, its file name; a frame is
    ``<file name>#<number>``. Other categories than person are left out; ``score`` may be missing and is then 1.
    Soft-NMS and threshold are the run's ``data.detections``.

    Raises:
        DetectionError: the file cannot be read, or an entry is not of this form.
    """

    def __init__(self, file: Path, config: DetectionsConfig) -> None:
        self.file = file
        self.config = config
        self.by_key: dict[int | str, list[tuple[list[float], float]]] = {}
        for position, entry in enumerate(load_entries(file, "--boxes")):
            key, bbox, score = _entry(file, position, entry)
            if entry.get("category_id", PERSON) == PERSON:
                self.by_key.setdefault(key, []).append((bbox, score))
        self.matched = 0
        """Pictures the file had boxes for, so far."""

    def __call__(self, picture: Picture) -> Boxes:
        entries = [*self.by_key.get(picture.image_id, ()), *self.by_key.get(picture.name, ())]
        self.matched += bool(entries)
        corners = np.array([bbox for bbox, _ in entries], dtype=np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        scores = np.array([score for _, score in entries], dtype=np.float32)
        return _usable(corners, scores, picture, self.config)


class TorchvisionDetector:
    """Faster R-CNN (ResNet-50 FPN, version 2) with torchvision's COCO weights.

    Raises:
        DetectionError: the weights are not there and cannot be downloaded.
    """

    def __init__(self, device: torch.device, build: Callable[[], Any] | None = None) -> None:
        from torchvision.models.detection import FasterRCNN_ResNet50_FPN_V2_Weights, fasterrcnn_resnet50_fpn_v2

        weights = FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1
        try:
            model = build() if build else fasterrcnn_resnet50_fpn_v2(weights=weights, progress=False)
        except OSError as error:  # urllib's and the file system's errors are all of this kind
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise DetectionError(
                f"torchvision's person detector cannot be loaded ({error}): put {weights.url.rsplit('/', 1)[-1]} "
                f"into {folder}, or give --boxes or --whole-image"
            ) from error
        self.model = model.to(device).eval()
        self.device = device

    @torch.no_grad()
    def __call__(self, picture: Picture) -> Boxes:
        image = torch.from_numpy(picture.pixels).to(self.device).flip(2).permute(2, 0, 1) / 255
        found = self.model([image])[0]
        kept = (found["labels"] == PERSON) & (found["scores"] >= LEAST_SCORE)
        corners = found["boxes"][kept].double().cpu().numpy()
        return _usable(corners, found["scores"][kept].float().cpu().numpy(), picture, DetectionsConfig())


def _usable(
    corners: NDArray[np.float64], scores: NDArray[np.float32], picture: Picture, config: DetectionsConfig
) -> Boxes:
    """What ``datamodules.detections`` makes of the boxes [n, 4] of one photograph."""
    image_hw = np.broadcast_to(picture.pixels.shape[:2], (len(corners), 2))
    found = usable(np.zeros(len(corners), dtype=np.int64), corners, scores, image_hw, config)
    return Boxes(found.boxes, found.scores)


def _entry(file: Path, position: int, entry: Any) -> tuple[int | str, list[float], float]:
    where = f"{file}: detection number {position}"
    if not isinstance(entry, dict):
        raise DetectionError(f"{where} is a {type(entry).__name__}, not an object; correct the file")
    key = entry.get("file_name", entry.get("image_id"))
    if not isinstance(key, (int, str)) or isinstance(key, bool):
        raise DetectionError(f"{where} has neither an image_id nor a file_name; correct the file")
    score = entry.get("score", 1.0)
    if fault := check_values(entry.get("bbox"), score):
        raise DetectionError(f"{where} {fault}; correct the file")
    return key, entry["bbox"], float(score)
