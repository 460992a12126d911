"""Writes a stand-in for COCO 2017 with its real counts: annotations, images and a detector's boxes.

    python -m experiments.benchmarks.coco_size --root DIR

118,287 training and 5,000 validation images, 262,465 and 11,004 people, 149,813 and 6,352 of them with labelled
keypoints on 64,115 and 2,693 images, and 104,125 detected boxes in ``DIR/detections_val2017.json``. The people are
random, and the images are a few JPEG files of 640×480 under many names (hard links), so that the folder takes some
200 MB of disk instead of 20 GB. ``--share 0.01`` writes a hundredth of everything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from experiments.benchmarks.annotations import write_file
from experiments.command_line import run_program


class Counts(NamedTuple):
    """Number of entries of a split, as COCO 2017 has them."""

    images: int
    people: int
    peopled: int
    """Images that show people."""
    labelled: int
    """People with labelled keypoints."""


SPLITS = {"train2017": Counts(118287, 262465, 64115, 149813), "val2017": Counts(5000, 11004, 2693, 6352)}
DETECTIONS = 104125
"""Boxes of the person detector whose results the papers share, on val2017."""
DETECTIONS_FILE = "detections_val2017.json"
HEIGHT, WIDTH = 480, 640
_KINDS = 16
"""Different images. A file system allows some 65,000 names for one file."""


def write_stand_in(root: Path, share: float = 1.0) -> None:
    """Writes the folder, or completes it: images that are there stay.

    Args:
        share: of every count, in (0, 1].

    Raises:
        OSError: the folder cannot be written.
    """
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    kinds = _write_kinds(root / "kinds")
    for split, full in SPLITS.items():
        counts = Counts(*(max(1, round(share * count)) for count in full))
        write_file(root / "annotations" / f"person_keypoints_{split}.json", *counts)
        (root / split).mkdir(exist_ok=True)
        for number in range(counts.images):
            _name(kinds[number % len(kinds)], root / split / f"{number + 1:012d}.jpg")
    _write_detections(
        root / DETECTIONS_FILE, max(1, round(share * DETECTIONS)), max(1, round(share * SPLITS["val2017"].images))
    )


def _write_kinds(folder: Path) -> list[Path]:
    """Images of coloured clouds under some noise, which take about as long to decode as a photo of COCO."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    files = []
    for number in range(_KINDS):
        coarse = generator.integers(0, 256, (HEIGHT // 40, WIDTH // 40, 3), dtype=np.uint8)
        clouds = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        image = (clouds + generator.normal(0, 12, clouds.shape)).clip(0, 255).astype(np.uint8)
        files.append(folder / f"{number}.jpg")
        cv2.imwrite(str(files[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return files


def _name(source: Path, name: Path) -> None:
    """One more name for a file; a copy where the file system knows no hard links."""
    if name.exists():
        return
    try:
        os.link(source, name)
    except OSError:
        shutil.copyfile(source, name)


def _write_detections(file: Path, count: int, images: int) -> None:
    generator = np.random.default_rng(1)
    corners = generator.uniform(0, (WIDTH / 2, HEIGHT / 2), (count, 2)).round(2)
    sizes = generator.uniform(10, (WIDTH / 2, HEIGHT / 2), (count, 2)).round(2)
    scores = generator.uniform(0, 1, count).round(4)
    boxes = np.concatenate([corners, sizes], axis=1).tolist()
    entries = [
        {"image_id": number % images + 1, "category_id": 1, "bbox": box, "score": score}
        for number, (box, score) in enumerate(zip(boxes, scores.tolist(), strict=True))
    ]
    file.write_text(json.dumps(entries))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks.coco_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--share", type=float, default=1.0, help="of every count, above 0 and at most 1")
    options = parser.parse_args(arguments)
    if not 0 < options.share <= 1:
        parser.error(f"--share {options.share}: expected a number above 0 and at most 1")
    write_stand_in(options.root, options.share)
    print(f"{options.root}: data.root={options.root} data.detections.file={options.root / DETECTIONS_FILE}")
    return 0


if __name__ == "__main__":
    run_program(main)
