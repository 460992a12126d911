"""Writes what was found: drawn pictures and videos, and JSON that grows with every picture instead of in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

import cv2
import torch

from callbacks.pictures import write_jpeg
from datamodules.mask_figures import encode_masks
from datamodules.results import to_result
from datamodules.skeleton import Skeleton
from experiments.prediction.boxes import PERSON, Boxes
from experiments.prediction.drawing import draw
from experiments.prediction.inputs import Kind, Picture, Source
from experiments.prediction.people import People


class OutputError(ValueError):
    """A place that nothing can be written to; one line."""


class JsonList:
    """A JSON list in a file, one entry a line, written as it comes; complete once closed."""

    def __init__(self, file: Path) -> None:
        self.file: TextIO = file.open("w")
        self.file.write("[")
        self.count = 0

    def append(self, entry: Any) -> None:
        self.file.write(("," if self.count else "") + "\n" + json.dumps(entry))
        self.count += 1

    def close(self) -> None:
        self.file.write("\n]\n")
        self.file.close()


class Writer:
    """A folder with ``predictions.json``, ``images.json`` and the drawn pictures and videos. A context manager.

    ``predictions.json`` is COCO's result format, ``images.json`` says which picture an ``image_id`` is. Where masks
    are predicted ``masks.json`` holds them as run lengths; where a detector was asked ``boxes.json`` holds its boxes,
    as ``--boxes`` takes them.

    Args:
        folder: made where it is not there.
        sources: so that no drawn picture takes the place of an input.
        skeleton: of the people.
        min_score: people who score less are written but not drawn.
        draws: whether to draw at all.
        draws_boxes: whether boxes say more than that they were given.
        keeps_boxes: whether to write ``boxes.json``.

    Raises:
        OutputError: the folder cannot be made, or holds an input that would be overwritten.
    """

    def __init__(
        self,
        folder: Path,
        sources: list[Source],
        skeleton: Skeleton,
        *,
        min_score: float,
        draws: bool,
        draws_boxes: bool,
        keeps_boxes: bool,
    ) -> None:
        self.folder = folder
        self.skeleton = skeleton
        self.min_score = min_score
        self.draws_boxes = draws_boxes
        self.names = _names(sources, folder) if draws else {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.lists = {name: JsonList(folder / f"{name}.json") for name in ("predictions", "images")}
            if keeps_boxes:
                self.lists["boxes"] = JsonList(folder / "boxes.json")
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error
        self.video: tuple[Source, cv2.VideoWriter] | None = None
        self.num_people = self.num_drawn = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_video()
        for entries in self.lists.values():
            entries.close()

    def write(self, picture: Picture, people: People, boxes: Boxes | None) -> None:
        """Everything about one picture. Pictures of a video come one after the other."""
        self._list(picture, people, boxes)
        if picture.source not in self.names:
            return
        self.num_drawn += int((people.scores >= self.min_score).sum())
        drawn = draw(picture.pixels, people, self.skeleton, min_score=self.min_score, with_boxes=self.draws_boxes)
        target = self.folder / self.names[picture.source]
        if picture.source.kind is Kind.image:
            write_jpeg(target, cv2.cvtColor(drawn, cv2.COLOR_BGR2RGB))
        else:
            self._video(picture, target, drawn.shape).write(drawn)

    def _list(self, picture: Picture, people: People, boxes: Boxes | None) -> None:
        height, width = picture.pixels.shape[:2]
        entry: dict[str, Any] = {"id": picture.image_id, "file_name": picture.name, "width": width, "height": height}
        if picture.frame is not None:
            entry |= {"frame": picture.frame, "seconds": round(picture.frame / picture.rate, 6)}
        self.lists["images"].append(entry)
        for keypoints, score in zip(people.keypoints, people.scores, strict=True):
            self.lists["predictions"].append(to_result(picture.image_id, PERSON, keypoints, float(score)))
        self.num_people += len(people.scores)
        if people.masks is not None:
            if "masks" not in self.lists:
                self.lists["masks"] = JsonList(self.folder / "masks.json")
            for lengths, score in zip(encode_masks(map(torch.from_numpy, people.masks)), people.scores, strict=True):
                result = {"image_id": picture.image_id, "category_id": PERSON, "segmentation": lengths}
                self.lists["masks"].append({**result, "score": float(score)})
        if boxes is not None and "boxes" in self.lists:
            for (x0, y0, x1, y1), score in zip(boxes.corners.tolist(), boxes.scores.tolist(), strict=True):
                found = {"image_id": picture.image_id, "category_id": PERSON, "bbox": [x0, y0, x1 - x0, y1 - y0]}
                self.lists["boxes"].append({**found, "score": score})

    def _video(self, picture: Picture, target: Path, shape: tuple[int, ...]) -> cv2.VideoWriter:
        if self.video is None or self.video[0] != picture.source:
            self._end_video()
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(target), codec, picture.rate, (shape[1], shape[0]))
            if not writer.isOpened():
                raise OutputError(f"{target}: this OpenCV writes no MP4; give --no-pictures for the JSON alone")
            self.video = (picture.source, writer)
        return self.video[1]

    def _end_video(self) -> None:
        if self.video is not None:
            self.video[1].release()
            self.video = None


def _names(sources: list[Source], folder: Path) -> dict[Source, str]:
    """A name of its own in ``folder`` for each source.

    Raises:
        OutputError: such a file would take the place of an input.
    """
    inputs = {source.path.resolve() for source in sources}
    names: dict[Source, str] = {}
    taken: set[str] = set()
    for source in sources:
        suffix = ".jpg" if source.kind is Kind.image else ".mp4"
        stem = f"camera{source.path}" if source.kind is Kind.camera else source.path.stem
        name, number = f"{stem}{suffix}", 2
        while name in taken:
            name, number = f"{stem}-{number}{suffix}", number + 1
        if (folder / name).resolve() in inputs:
            raise OutputError(f"{folder / name}: an input of that name would be overwritten; choose another --out")
        taken.add(name)
        names[source] = name
    return names
