"""The person-crop view: one sample is one person, cut out around a ground-truth or detected box."""

from __future__ import annotations

from typing import Any

import albumentations as A
import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.annotations import Annotations
from datamodules.augmentation import Frame, Warp, color_transforms, fill_color, start, warp_people
from datamodules.config import AugmentationConfig, DataConfig
from datamodules.contracts import Meta, Persons
from datamodules.detections import Boxes, read_detections
from datamodules.geometry import identity, invert
from datamodules.image_dataset import ImageDataset, Opened, Sample
from datamodules.sampler import Draw
from datamodules.skeleton import Skeleton

_OFF = AugmentationConfig(flip=0.0)
_HALF_BODY_KEYPOINTS = 8
_HALF_BODY_PADDING = 1.5
_LOWER_BODY = ("hip", "knee", "ankle", "heel", "toe", "foot")


def crop_size_of(box: NDArray[Any], crop_hw: tuple[int, int], padding: float) -> tuple[float, float]:
    """Height and width, in the photograph, of the crop around a box (x0 y0 x1 y1).

    The field's convention: the box is widened or heightened to the crop's aspect ratio, then multiplied by
    ``padding``. The crop's centre is the box's.
    """
    width, height = float(box[2] - box[0]), float(box[3] - box[1])
    aspect = crop_hw[1] / crop_hw[0]
    return padding * max(height, width / aspect), padding * max(width, height * aspect)


class PersonWarp(Warp):
    """Takes the crop around a box onto a frame of ``hw`` pixels, then augments.

    Targets beside ``Warp``'s, which stay as they are: ``person_box`` f32 [4], x0 y0 x1 y1; ``half_body_boxes``
    f32 [n, 4], n in 0, 1, 2, from which one may be cut out instead.
    """

    def __init__(self, config: DataConfig, augmentation: AugmentationConfig) -> None:
        super().__init__(
            resize=config.resize,
            size=config.size,
            max_size=config.max_size,
            train_size=None,
            augmentation=augmentation,
            fill=fill_color(config.mean),
            place=config.warp,
        )
        self.hw = (config.crop_size[0], config.crop_size[1])
        self.padding = config.box_padding

    @property
    def targets(self) -> dict[str, Any]:
        return {**super().targets, "person_box": self.keep, "half_body_boxes": self.keep}

    def keep(self, value: NDArray[Any], **params: Any) -> NDArray[Any]:
        return value

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        box, padding, halves = data["person_box"], self.padding, data["half_body_boxes"]
        if len(halves) and self.py_random.random() < self.augmentation.half_body:
            box, padding = halves[self.py_random.randrange(len(halves))], _HALF_BODY_PADDING
        factor = self.hw[0] / crop_size_of(box, self.hw, padding)[0]
        mirror = self.py_random.random() < self.augmentation.flip
        x0, y0, x1, y1 = (float(value) for value in box)
        # Around the box instead of around the photograph: as if the photograph were twice its centre.
        warp = self._draw(Frame((factor, factor), self.hw), y0 + y1, x0 + x1, mirror)
        return {"warp": warp, "input_hw": self.hw, "mirror": mirror}


class PersonDataset(ImageDataset):
    """Crops of ``config.crop_size`` pixels with one person each (P = 1); see ``ImageDataset``.

    Training: everyone with labelled keypoints. Evaluation: the same people, or those of ``config.detections.file``,
    whose samples have the detected box, its score in ``meta.detection_score``, and no keypoints. Where there is nobody
    to evaluate, the one sample is a black crop whose person is not real. ``meta.sample_id`` counts people.

    Nothing is ignored: which joints are labelled says what is learnt of a crop.

    Raises:
        ValueError: nobody to train on; see ``read_detections`` for the detector's file.
    """

    def __init__(
        self, annotations: Annotations, config: DataConfig, skeleton: Skeleton, *, train: bool, seed: int = 0
    ) -> None:
        super().__init__(annotations, config, skeleton, train=train, seed=seed)
        self.rows = np.flatnonzero(self.is_labelled)
        detected = None if train or config.detections.file is None else read_detections(config.detections, annotations)
        self.people = self._annotated() if detected is None else detected
        self.has_truth = detected is None
        if train and not len(self.rows):
            raise ValueError(f"{annotations.file}: nobody to train on has labelled keypoints; check data.train_split")
        self.hw = (config.crop_size[0], config.crop_size[1])
        warp = PersonWarp(config, config.augmentation if train else _OFF)
        color = color_transforms(config.augmentation.color) if train else []
        self.pipeline = A.Compose([*color, warp])
        is_lower = [any(part in joint for part in _LOWER_BODY) for joint in skeleton.joints]
        self.halves = np.array([is_lower, np.logical_not(is_lower)])

    def __len__(self) -> int:
        return max(1, len(self.people.image))

    def _open(self, key: int | Draw) -> Opened:
        index, epoch = key if isinstance(key, tuple) else (key, None)
        if not len(self.people.image):
            return Opened(index, epoch, 0, None)
        return Opened(index, epoch, *self._read(int(self.people.image[index])))

    def _finish(self, opened: Opened) -> Sample:
        index, epoch, number, photograph = opened
        if photograph is None:
            return self._nobody(index, number)
        self._seed(index, epoch)
        if number != self.people.image[index]:  # unreadable and skipped: someone of the next readable photograph
            index = int(np.searchsorted(self.people.image, number)) % len(self)
            number, photograph = self._read(int(self.people.image[index]))
            assert photograph is not None
        return self._person(index, number, photograph)

    def _annotated(self) -> Boxes:
        number = np.searchsorted(self.annotations.offsets, self.rows, side="right") - 1
        return Boxes(number, self.annotations.boxes[self.rows], np.ones(len(self.rows), dtype=np.float32))

    def _person(self, index: int, number: int, photograph: NDArray[np.uint8]) -> Sample:
        box = self.people.boxes[index]
        keypoints, visibility, area = self._truth(index)
        drawn = self.pipeline(
            **start(photograph), person_box=box, half_body_boxes=self._half_bodies(keypoints, visibility)
        )
        matrix, hw = drawn["matrix"], self.hw
        permutation = self.flip_permutation if drawn["mirrored"] else None
        person = warp_people(keypoints[None], visibility[None], box[None], area, matrix, hw, permutation)
        return Sample(
            image=self.present(drawn["image"], matrix, hw),
            persons=Persons(
                keypoints=torch.from_numpy(person.keypoints),
                visibility=torch.from_numpy(person.visibility),
                boxes=torch.from_numpy(person.boxes),
                areas=torch.from_numpy(person.areas),
                is_real=torch.ones(1, dtype=torch.bool),
            ),
            ignore=torch.zeros(-(-hw[0] // 4), -(-hw[1] // 4), dtype=torch.bool),
            instance_masks=None,
            meta=self._meta(index, number, invert(matrix), float(self.people.scores[index])),
        )

    def _truth(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]:
        """Keypoints [K, 2], visibility [K] and area [1]; nothing labelled and the box's area of a detection."""
        if not self.has_truth:
            joints = len(self.flip_permutation)
            x0, y0, x1, y1 = self.people.boxes[index]
            area = np.array([(x1 - x0) * (y1 - y0)], dtype=np.float32)
            return np.zeros((joints, 2), np.float32), np.zeros(joints, np.uint8), area
        row = self.rows[index]
        return self.annotations.keypoints[row], self.annotations.visibility[row], self.annotations.areas[row][None]

    def _half_bodies(self, keypoints: NDArray[np.float32], visibility: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Boxes around the labelled joints of the lower and of the upper body, each if it has more than two.

        Only of a person with more than 8 labelled joints. (HRNet centres on the mean of the joints instead.)
        """
        if (visibility > 0).sum() <= _HALF_BODY_KEYPOINTS or self.config.augmentation.half_body <= 0:
            return np.zeros((0, 4), dtype=np.float32)
        chosen = [keypoints[half & (visibility > 0)] for half in self.halves]
        boxes = [np.concatenate([points.min(axis=0), points.max(axis=0)]) for points in chosen if len(points) > 2]
        has_extent = [box for box in boxes if (box[2:] - box[:2]).max() >= 1]
        return np.array(has_extent, dtype=np.float32).reshape(-1, 4)

    def _nobody(self, index: int, number: int) -> Sample:
        """A black crop under the ids of photograph ``number``."""
        height, width = self.hw
        joints = len(self.flip_permutation)
        return Sample(
            image=self.present(np.zeros((height, width, 3), np.uint8), identity(), self.hw),
            persons=Persons(
                keypoints=torch.zeros(1, joints, 2),
                visibility=torch.zeros(1, joints, dtype=torch.uint8),
                boxes=torch.zeros(1, 4),
                areas=torch.zeros(1),
                is_real=torch.zeros(1, dtype=torch.bool),
            ),
            ignore=torch.zeros(-(-height // 4), -(-width // 4), dtype=torch.bool),
            instance_masks=None,
            meta=self._meta(index, number, identity(), 0.0),
        )

    def _meta(self, index: int, number: int, to_original: NDArray[np.float64], score: float) -> Meta:
        return Meta(
            sample_id=torch.tensor(index),
            image_id=torch.tensor(int(self.annotations.image_ids[number])),
            original_hw=torch.from_numpy(self.annotations.image_hw[number]),
            input_hw=torch.tensor(self.config.crop_size),
            to_original=torch.from_numpy(to_original.astype(np.float32)),
            detection_score=torch.tensor(score),
        )
