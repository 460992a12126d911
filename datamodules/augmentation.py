"""The whole-image view's geometry and colour: one exact affine map a photograph, as an albumentations pipeline."""

from __future__ import annotations

import os
import random
from typing import Any, NamedTuple

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks a server at import otherwise

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from datamodules.config import AugmentationConfig, CropFill, CropShrink, DataConfig, Resize, Spread, View, WarpPlace
from datamodules.geometry import (
    Matrix,
    compose,
    identity,
    placing,
    scaling,
    translation,
    warp_image,
)

_OFF = AugmentationConfig(flip=0.0)


class Frame(NamedTuple):
    """Where a photograph lies in the network's input before augmentation."""

    scale: tuple[float, float]
    """Factors on x and y."""
    hw: tuple[int, int]
    """Height and width of the input, pixels."""


class Warp(A.DualTransform):
    """Resizes, mirrors, scales, rotates and shifts a photograph by one composed affine map, resampled once.

    Targets: ``image`` u8 [H, W, 3]; ``matrix`` f64 [2, 3], to which the map is appended; ``mirrored`` bool, which it
    toggles; ``hw``, which becomes the input's height and width. What else belongs to the photograph follows from these:
    points by ``geometry.map_points``, people by ``people.warp_people``. (albumentations' own keypoints mirror to
    W - 1 - x and lose their sides, so they are not used.)

    Random numbers come from albumentations' generators: ``Compose.set_random_seed`` repeats a draw.

    Args:
        resize, size, max_size, train_size: as in ``DataConfig``. ``train_size`` None resizes as in a test: ``size``,
            and ``crop`` as ``letterbox``, so that nothing is cut off.
        augmentation: what is drawn; ``color`` is not read here.
        fill: u8 RGB of what lies outside the photograph.
        place: where pixels are resampled; on the ``device``, ``image`` stays the photograph and ``matrix`` says how.
        averages_areas: as in ``geometry.warp_image``.
    """

    def __init__(
        self,
        resize: Resize,
        size: int,
        max_size: int,
        train_size: tuple[int, int] | None,
        augmentation: AugmentationConfig,
        fill: tuple[int, int, int],
        place: WarpPlace = WarpPlace.worker,
        averages_areas: bool = True,
    ) -> None:
        super().__init__(p=1.0)
        self.resize = resize
        self.size = size
        self.max_size = max_size
        self.train_size = train_size
        self.augmentation = augmentation
        self.fill = fill
        self.place = place
        self.averages_areas = averages_areas

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> dict[str, Any]:
        """As albumentations applies a transform, without its handling of whatever other targets there may be."""
        warp, hw, mirror = self.draw(data)
        applied = {
            "image": self._resampled(data["image"], warp, hw),
            "matrix": compose(data["matrix"], warp),
            "mirrored": data["mirrored"] != mirror,
            "hw": hw,
        }
        return {**data, **applied}

    def _resampled(self, image: NDArray, warp: Matrix, hw: tuple[int, int]) -> NDArray:
        if self.place is WarpPlace.device:
            return image
        return warp_image(image, warp, hw, self.fill, averages_areas=self.averages_areas)

    def set_random_seed(self, seed: int | None) -> None:
        self.seed, self.py_random = seed, random.Random(seed)  # NumPy's is never drawn from, and takes long to seed

    def draw(self, data: dict[str, Any]) -> tuple[Matrix, tuple[int, int], bool]:
        """The map from ``data``'s image to the input, the input's height and width, and whether it is mirrored."""
        height, width = data["image"].shape[:2]
        frame = self._frame(height, width)
        mirror = self.py_random.random() < self.augmentation.flip
        return self._draw(frame, height, width, mirror), frame.hw, mirror

    def _frame(self, height: int, width: int) -> Frame:
        if self.resize is Resize.crop and self.train_size is not None:
            factor = self.size / min(height, width)
            return Frame((factor, factor), (self.size, self.size))
        if self.resize is Resize.shorter_side:
            size = self.size if self.train_size is None else self.py_random.randint(*self.train_size)
            factor = min(size / min(height, width), self.max_size / max(height, width))
        else:
            factor = self.size / max(height, width)
        hw = (max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5)))
        return Frame((hw[1] / width, hw[0] / height), hw)

    def _draw(self, frame: Frame, height: float, width: float, mirror: bool) -> Matrix:
        """The map from the photograph to the input: scaled and rotated about both centres, shifted, then mirrored.

        Mirrored last, a draw and its twin are mirror images of each other whatever else was drawn.
        """
        drawn, draw = self.augmentation, self.py_random
        factor, angle = self._draw_scale(), self._draw_angle()
        dx, dy = (
            draw.uniform(-drawn.shift, drawn.shift) * side + draw.uniform(-drawn.shift_pixels, drawn.shift_pixels)
            for side in (frame.hw[1], frame.hw[0])
        )
        matrix = placing(
            (frame.scale[0] * factor, frame.scale[1] * factor),
            angle,
            center=(width / 2, height / 2),
            target=(frame.hw[1] / 2 + dx, frame.hw[0] / 2 + dy),
        )
        return compose(matrix, scaling(-1.0, 1.0), translation(frame.hw[1], 0.0)) if mirror else matrix

    def _draw_scale(self) -> float:
        low, high = self.augmentation.scale
        if self.augmentation.spread is Spread.uniform:
            return self.py_random.uniform(low, high)
        return 1 / min(max(self.py_random.gauss(1.0, (high - low) / 2), low), high)

    def _draw_angle(self) -> float:
        largest = self.augmentation.rotation
        if self.py_random.random() >= self.augmentation.rotation_probability:
            return 0.0
        if self.augmentation.spread is Spread.uniform:
            return self.py_random.uniform(-largest, largest)
        return min(max(self.py_random.gauss(0.0, largest), -2 * largest), 2 * largest)


class Pipeline(A.Compose):
    """``A.Compose`` of transforms that are always applied: the same draws, without its checks of every sample."""

    def __call__(self, *args: Any, force_apply: bool = False, **data: Any) -> dict[str, Any]:
        for transform in self.transforms:
            data = transform(**data)
        return data

    def set_random_seed(self, seed: int | None) -> None:
        self.seed = seed
        for transform in self.transforms:
            transform.set_random_seed(seed)


def build_pipeline(config: DataConfig, *, train: bool) -> Pipeline:
    """The pipeline of the whole-image view: ``pipeline(**start(image))`` gives ``image``, ``matrix``, ``mirrored``,
    ``hw``.

    In training colour is drawn first, on the photograph, then ``Warp``; in evaluation nothing is random.
    """
    drawn = config.augmentation if train else _OFF
    warp = Warp(
        resize=config.resize,
        size=config.size,
        max_size=config.max_size,
        train_size=(config.train_size[0], config.train_size[-1]) if train else None,
        augmentation=drawn,
        fill=fill_of(config),
        place=config.warp,
    )
    return Pipeline([*color_transforms(drawn.color), warp])


def start(image: NDArray[np.uint8]) -> dict[str, Any]:
    """The targets of a pipeline before it begins."""
    return {"image": image, "matrix": identity(), "mirrored": False, "hw": image.shape[:2]}


def color_transforms(strength: float) -> list[A.BasicTransform]:
    """Brightness, contrast and saturation by up to ±strength, hue by a quarter of it; none at 0."""
    if strength <= 0:
        return []
    span = (max(0.0, 1.0 - strength), 1.0 + strength)
    hue = min(0.5, strength / 4)
    return [A.ColorJitter(brightness=span, contrast=span, saturation=span, hue=(-hue, hue), p=1.0)]


def fill_of(config: DataConfig) -> tuple[int, int, int]:
    """The u8 RGB colour of an input beyond its photograph."""
    is_black = config.view is View.person and config.crop_fill is CropFill.black
    return (0, 0, 0) if is_black else fill_color(config.mean)


def averages_areas(config: DataConfig) -> bool:
    """Whether inputs smaller than half their size in the photograph are averaged over areas."""
    return config.view is not View.person or config.crop_shrink is CropShrink.area


def fill_color(mean: list[float]) -> tuple[int, int, int]:
    """The u8 RGB colour nearest to ``mean`` (in [0, 1]): about 0 once normalised."""
    red, green, blue = (round(255 * value) for value in mean)
    return red, green, blue
