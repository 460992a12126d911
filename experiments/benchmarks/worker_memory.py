"""How much memory a DataLoader's workers stop sharing over an epoch: columns against Python objects.

    python -m experiments.benchmarks.worker_memory

Two workers go through the annotations of every image of a val2017-size file, eight through a train2017-size one with
``--full``; photographs are left out. Whoever so much as looks at a Python object writes to its reference count, and the
page it lies on becomes the worker's own. The peer is pycocotools' index, as torchvision's ``CocoDetection`` asks it.
Linux only.
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO as CocoIndex
from torch.utils.data import DataLoader, Dataset

from datamodules.annotations import Annotations, read_annotations
from datamodules.skeleton import COCO
from experiments.benchmarks.annotations import SIZES, cache_in, write_file
from experiments.benchmarks.measuring import Line, Setting

EVERY = 250


def private_memory() -> float:
    """MB of this process that no other shares."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(value) for value in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+) kB", text)) / 1000


class Walk(Dataset[tuple[int, float]]):
    """Index -> the worker's number, and the memory it has come to own since its first index, MB."""

    def __init__(self, images: int, look: Callable[[int], object]) -> None:
        self.images = images
        self.look = look
        self.calls = 0
        self.before = self.grown = 0.0

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, image: int) -> tuple[int, float]:
        if not self.calls:
            self.before = private_memory()
        self.look(image)
        self.calls += 1
        if self.calls % EVERY == 0:
            self.grown = private_memory() - self.before
        return os.getpid(), self.grown


def growth(images: int, look: Callable[[int], object], workers: int) -> float:
    """MB that the worker which grew most came to own in one epoch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more workers than cores: they only look
        loader = DataLoader(Walk(images, look), batch_size=50, num_workers=workers, collate_fn=list, shuffle=True)
        return max(grown for batch in loader for _, grown in batch)


def in_columns(annotations: Annotations) -> Callable[[int], object]:
    def look(image: int) -> Any:
        rows = annotations.people(image)
        points = annotations.keypoints[rows].sum() + annotations.boxes[rows].sum() + annotations.visibility[rows].sum()
        return points + sum(annotations.segments.has(row) for row in range(rows.start, rows.stop))

    return look


def in_objects(file: Path) -> Callable[[int], object]:
    content = json.loads(file.read_bytes())
    of_image: list[list[dict[str, Any]]] = [[] for _ in content["images"]]
    for person in content["annotations"]:
        of_image[person["image_id"] - 1].append(person)

    return lambda image: _sum_of(of_image[image])


def in_index(file: Path) -> Callable[[int], object]:
    with redirect_stdout(io.StringIO()):
        index = CocoIndex(str(file))
    return lambda image: _sum_of(index.loadAnns(index.getAnnIds(image + 1)))


def _sum_of(people: list[dict[str, Any]]) -> Any:
    points = sum(np.array(person["keypoints"]).sum() + np.array(person["bbox"]).sum() for person in people)
    return points + sum(bool(person["segmentation"]) for person in people)


def lines(setting: Setting) -> list[Line]:
    """One line; none where there is no ``/proc``."""
    if not Path("/proc/self/smaps_rollup").exists():
        return []
    name, workers = ("train2017", 8) if setting.full else ("val2017", 2)
    images, people = SIZES[name]
    with tempfile.TemporaryDirectory() as folder, cache_in(Path("/dev/null")):
        file = Path(folder) / "people.json"
        write_file(file, images, people)
        ours = growth(images, in_columns(read_annotations(file, Path(folder), COCO)), workers)
        naive, peer = (growth(images, form(file), workers) for form in (in_objects, in_index))
        limit = growth(images, lambda image: 0, workers)
    note = (
        f"{name}-size, {workers} workers, what the worst came to own in an epoch; naive: the file's own objects; peer: "
        "pycocotools' index, as torchvision's CocoDetection asks it; limit: a worker that looks at nothing"
    )
    return [Line("annotations, memory per worker", ours, naive, peer, limit, "MB", asked=2.0, note=note)]


def main() -> None:
    for line in lines(Setting(full=True)):
        print(f"{line.name}: objects {line.naive:.0f} MB, columns {line.ours:.0f} MB; {line.note}")


if __name__ == "__main__":
    main()
