"""Rendered people from the command line.

``python -m datamodules.synthetic --sheet FILE`` draws a contact sheet,
``python -m datamodules.synthetic --root FOLDER`` writes a dataset.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

import cv2
import numpy as np

from datamodules.config import RenderedConfig
from datamodules.contact_sheet import contact_sheet
from datamodules.drawing import draw_people
from datamodules.synthetic.dataset import check, make_dataset, rendered_root
from datamodules.synthetic.scene import Person, render_scene
from datamodules.synthetic.splits import render_share


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m datamodules.synthetic", description="Rendered people.")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw a contact sheet into this picture and stop")
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="where to write the dataset")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    defaults = RenderedConfig()
    parser.add_argument("--train-images", type=int, default=defaults.train_images)
    parser.add_argument("--val-images", type=int, default=defaults.val_images)
    parser.add_argument("--size", type=int, default=defaults.size, help="pixels")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--max-people", type=int, default=defaults.max_people)
    parser.add_argument("--min-height", type=float, default=defaults.min_height, help="fraction of the image")
    parser.add_argument("--facing", type=float, default=defaults.facing, help="most degrees turned away")
    given = parser.parse_args(arguments)
    if given.worker:
        folder, config, worker, workers = given.worker
        for _ in render_share(Path(folder), RenderedConfig(**json.loads(config)), int(worker), int(workers)):
            pass
        return
    config = RenderedConfig(
        given.train_images, given.val_images, given.size, given.seed, given.max_people, given.min_height, given.facing
    )
    try:
        if given.sheet:
            write_sheet(given.sheet, given.columns, given.rows, config)
        else:
            print(make_dataset(given.root or rendered_root(config), config, progress=True))
    except (ValueError, RuntimeError, OSError) as error:
        sys.exit(str(error))


def write_sheet(file: Path, columns: int, rows: int, config: RenderedConfig) -> None:
    """Raises:
    ValueError: ``config`` makes no sense, or has nobody to draw.
    OSError: ``file`` cannot be written.
    """
    check(config)
    if config.max_people < 1:
        raise ValueError(f"data.rendered.max_people: {config.max_people}, expected at least 1 for a sheet of people")
    if not cv2.haveImageWriter(str(file)):
        raise ValueError(f"{file}: give --sheet a name that ends in .jpg or .png")
    sheet = draw_sheet(columns, rows, config)
    if not cv2.imwrite(str(file), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85]):
        raise OSError(f"{file}: could not be written")


def draw_sheet(columns: int, rows: int, config: RenderedConfig) -> np.ndarray:
    """Scenes with labelled people on a contact sheet, every other one with its labels; u8 [H, W, 3], RGB."""
    pictures: list[np.ndarray] = []
    index = 0
    while len(pictures) < columns * rows:
        rng = np.random.default_rng([config.seed, 2, index])
        scene = render_scene(
            rng, config.size, max_people=config.max_people, min_height=config.min_height, facing=config.facing
        )
        index += 1
        people = [person for person in scene.people if person.visibility.any()]
        if people:
            image = cv2.resize(scene.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            pictures.append(_with_labels(image, people) if len(pictures) % 2 else image)
    return contact_sheet(pictures, columns, cell=config.size)


def _with_labels(image: np.ndarray, people: list[Person]) -> np.ndarray:
    """Labels drawn at twice the picture's size: thin lines stay thin when the sheet shrinks it."""
    keypoints = 2 * np.stack([person.keypoints for person in people])
    visibility = np.stack([person.visibility for person in people])
    return draw_people(image, keypoints, visibility, masks=[person.mask for person in people])


if __name__ == "__main__":
    if sys.platform != "win32":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends without a message where the reader of its output has gone
    main()
