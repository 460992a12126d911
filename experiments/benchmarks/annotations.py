"""A val2017-size annotation file: parsed and validated, as pycocotools indexes it, and from the cache.

    python -m experiments.benchmarks.annotations

5,000 images with 11,004 people, train2017-size with ``--full``: 118,287 with 262,465. The cache lies in a folder of
its own here.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np

from datamodules.annotations import read_annotations
from datamodules.skeleton import COCO
from experiments.benchmarks.measuring import Line, Setting

SIZES = {"val2017": (5000, 11004), "train2017": (118287, 262465)}
LIMIT = 2000.0
"""Milliseconds."""
POINTS = 24
"""Corners of a person's outline, as many as COCO's have on average."""


def write_file(file: Path, images: int, people: int, peopled: int | None = None, labelled: int | None = None) -> None:
    """A sound keypoint file of random people, in turn on the first images.

    Args:
        peopled: images that show people; None is all of them.
        labelled: people with labelled keypoints, spread evenly over the file; None is all of them.
    """
    generator = np.random.default_rng(0)
    kinds = [_person(generator) for _ in range(200)]
    bare = {"keypoints": [0] * (3 * len(COCO.joints)), "num_keypoints": 0}
    shown_on, seen = peopled or images, people if labelled is None else labelled
    entries = []
    for number in range(people):
        is_labelled = (number + 1) * seen // people > number * seen // people
        person = {**kinds[number % len(kinds)], **({} if is_labelled else bare)}
        entries.append({**person, "id": number + 1, "image_id": number % shown_on + 1})
    shown = [
        {"id": n + 1, "file_name": f"{n + 1:012d}.jpg", "height": 480, "width": 640, "coco_url": "", "license": 1}
        for n in range(images)
    ]
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}]
    file.write_text(json.dumps({"images": shown, "annotations": entries, "categories": categories}))


def _person(generator: np.random.Generator) -> dict[str, object]:
    x, y, width, height = generator.integers(20, 220, 4).tolist()
    places = generator.integers(0, 200, (17, 2)) * (width, height) // 200 + (x, y)
    flags = generator.integers(0, 3, 17)
    outline = generator.uniform(0, 1, (POINTS, 2)) * (width, height) + (x, y)
    return {
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x, y, width, height],
        "area": width * height / 2,
        "keypoints": np.concatenate([places, flags[:, None]], axis=1).reshape(-1).tolist(),
        "num_keypoints": int((flags > 0).sum()),
        "segmentation": [outline.round(2).reshape(-1).tolist()],
    }


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def by_pycocotools(file: Path) -> None:
    from pycocotools.coco import COCO as CocoIndex

    with redirect_stdout(io.StringIO()):
        CocoIndex(str(file))


def lines(setting: Setting) -> list[Line]:
    found = []
    host = setting._replace(device="cpu", full=False)
    for name in SIZES if setting.full else ["val2017"]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            file = folder / f"{name}.json"
            write_file(file, *SIZES[name])
            read = partial(read_annotations, file, folder, COCO)
            with cache_in(Path("/dev/null")):
                first = host.race({"first": read, "pycocotools": partial(by_pycocotools, file)}, repeats=2)
            with cache_in(folder / "cache"):
                again = host.race({"again": read})["again"]
        note = "naive: parsed and validated, as the first time; peer: pycocotools' index, not validated; limit: 2 s"
        found.append(
            Line(f"{name} annotations", again, first["first"], first["pycocotools"], LIMIT, asked=10.0, note=note)
        )
    return found


def main() -> None:
    for line in lines(Setting(full=True)):
        print(f"{line.name}: first {line.naive:.0f} ms, then {line.ours:.0f} ms; pycocotools {line.peer:.0f} ms")


if __name__ == "__main__":
    main()
