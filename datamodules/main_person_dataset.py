"""The main-person view of bottom-up training: one sample is one person in the middle of a square, with all others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.annotations import Annotations
from datamodules.augmentation import Frame, Pipeline, Warp, color_transforms, fill_color
from datamodules.config import DataConfig, View
from datamodules.geometry import Matrix
from datamodules.image_dataset import Drawn, ImageDataset, Opened
from datamodules.skeleton import Skeleton

_MIN_KEYPOINTS = 5
_MIN_AREA = 32.0**2
_MIN_DISTANCE = 0.3


def main_people(annotations: Annotations) -> NDArray[np.int64]:
    """Rows of the people who each make a training sample, as the CMU pipeline chooses them; ascending.

    A person with at least 5 labelled keypoints and an area of at least 32² pixels, unless an earlier main person of the
    same photograph is near: their boxes' centres closer than 0.3 of the earlier one's longer side.
    """
    boxes = annotations.boxes
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = _MIN_DISTANCE * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0.0)
    large = ((annotations.visibility > 0).sum(axis=1) >= _MIN_KEYPOINTS) & (annotations.areas >= _MIN_AREA)
    candidates = np.flatnonzero(large & ~annotations.is_crowd)
    image = np.searchsorted(annotations.offsets, candidates, side="right")
    chosen: list[int] = []
    before: list[int] = []
    for position, row in enumerate(candidates.tolist()):
        if position == 0 or image[position] != image[position - 1]:
            before = []
        if (np.linalg.norm(centres[before] - centres[row], axis=1) >= reach[before]).all():
            before.append(row)
            chosen.append(row)
    return np.array(chosen, dtype=np.int64)


class MainPersonWarp(Warp):
    """Centres a person in a frame of ``hw`` pixels, its box ``height`` times as high as the frame, then augments.

    One more target than ``Warp``: ``main_box`` f32 [4], x0 y0 x1 y1, which stays as it is.
    """

    def __init__(self, hw: tuple[int, int], height: float, config: DataConfig) -> None:
        super().__init__(
            resize=config.resize,
            size=config.size,
            max_size=config.max_size,
            train_size=None,
            augmentation=config.augmentation,
            fill=fill_color(config.mean),
            place=config.warp,
        )
        self.hw = hw
        self.height = height

    def draw(self, data: dict[str, Any]) -> tuple[Matrix, tuple[int, int], bool]:
        x0, y0, x1, y1 = data["main_box"].tolist()
        factor = self.height * self.hw[0] / (y1 - y0)
        mirror = self.py_random.random() < self.augmentation.flip
        # Around the person instead of around the photograph: as if the photograph were twice their centre.
        return self._draw(Frame((factor, factor), self.hw), y0 + y1, x0 + x1, mirror), self.hw, mirror


class MainPersonDataset(ImageDataset):
    """Training samples around the main people of ``annotations``, ``config.crop_size`` pixels; see ``ImageDataset``.

    ``meta.sample_id`` counts main people. Photographs without one are left out.

    Raises:
        ValueError: nobody is a main person.
    """

    def __init__(self, annotations: Annotations, config: DataConfig, skeleton: Skeleton, *, seed: int = 0) -> None:
        rows = main_people(annotations)
        if not len(rows):
            raise ValueError(
                f"{annotations.file}: nobody has the {_MIN_KEYPOINTS} labelled keypoints and the area of "
                f"{_MIN_AREA:.0f} pixels that data.view={View.main_person.value} trains on; use data.view=image"
            )
        numbers = np.searchsorted(annotations.offsets, rows, side="right") - 1
        super().__init__(annotations.select(np.unique(numbers)), config, skeleton, train=True, seed=seed)
        self.rows = main_people(self.annotations)
        self.numbers = np.searchsorted(self.annotations.offsets, self.rows, side="right") - 1
        hw = (config.crop_size[0], config.crop_size[1])
        warp = MainPersonWarp(hw, config.main_person_height, config)
        self.pipeline = Pipeline([*color_transforms(config.augmentation.color), warp])

    def __len__(self) -> int:
        return len(self.rows)

    def _number(self, sample: int) -> int:
        return int(self.numbers[sample])

    def _draw(self, opened: Opened) -> Drawn:
        index, number = opened.sample, opened.number
        self._seed(index, opened.epoch)
        if number != self.numbers[index]:  # unreadable and skipped: someone of the next readable photograph
            index = int(np.searchsorted(self.numbers, number))
        return self._drawn(opened, index, main_box=self.annotations.boxes[self.rows[index]])


def main_person_view(
    annotations: Annotations, config: DataConfig, skeleton: Skeleton, *, train: bool, seed: int = 0
) -> ImageDataset:
    """Main people in training, whole photographs in evaluation."""
    if train:
        return MainPersonDataset(annotations, config, skeleton, seed=seed)
    return ImageDataset(annotations, config, skeleton, train=False, seed=seed)
