"""The person-crop view: one sample is one person, cut out around a ground-truth or detected box."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.annotations import Annotations
from datamodules.augmentation import Frame, Pipeline, Warp, averages_areas, color_transforms, fill_of
from datamodules.config import AugmentationConfig, DataConfig, JointsOutside
from datamodules.detections import Boxes, read_detections
from datamodules.geometry import Matrix, identity, invert
from datamodules.image_dataset import Drawn, ImageDataset, Opened, Sample, SampleMeta
from datamodules.people import People, Placed, warp_people
from datamodules.sampler import Draw
from datamodules.skeleton import Skeleton

_OFF = AugmentationConfig(flip=0.0)
_HALF_BODY_KEYPOINTS = 8
_HALF_BODY_PADDING = 1.5
_NO_BOXES = np.zeros((0, 4), dtype=np.float32)
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
    f32 [n, 4], n in 0, 1, 2, the upper one last, from which one may be cut out instead.
    """

    def __init__(self, config: DataConfig, augmentation: AugmentationConfig) -> None:
        super().__init__(
            resize=config.resize,
            size=config.size,
            max_size=config.max_size,
            train_size=None,
            augmentation=augmentation,
            fill=fill_of(config),
            place=config.warp,
            averages_areas=averages_areas(config),
        )
        self.hw = (config.crop_size[0], config.crop_size[1])
        self.padding = config.box_padding

    def draw(self, data: dict[str, Any]) -> tuple[Matrix, tuple[int, int], bool]:
        box, padding, halves = data["person_box"], self.padding, data["half_body_boxes"]
        if len(halves) and self.py_random.random() < self.augmentation.half_body:
            takes_upper = self.py_random.random() < self.augmentation.half_body_upper
            box, padding = halves[-1 if takes_upper else 0], _HALF_BODY_PADDING
        factor = self.hw[0] / crop_size_of(box, self.hw, padding)[0]
        mirror = self.py_random.random() < self.augmentation.flip
        x0, y0, x1, y1 = box.tolist()
        # Around the box instead of around the photograph: as if the photograph were twice its centre.
        return self._draw(Frame((factor, factor), self.hw), y0 + y1, x0 + x1, mirror), self.hw, mirror


class PersonDataset(ImageDataset):
    """Crops of ``config.crop_size`` pixels with one person each (P = 1); see ``ImageDataset``.

    Training: everyone with labelled keypoints. Evaluation: the same people, or those of ``config.detections.file``,
    whose samples have the detected box, its score in ``meta.detection_score``, and no keypoints. Where there is nobody
    to evaluate, the one sample is a black crop whose person is not real. ``meta.sample_id`` counts people.

    Nothing is ignored: which joints are labelled says what is learnt of a crop. Under ``JointsOutside.keep`` those
    outside the crop stay labelled, and the targets of a paper decide which of them it learns.

    Raises:
        ValueError: nobody to train on; see ``read_detections`` for the detector's file.
    """

    def __init__(
        self, annotations: Annotations, config: DataConfig, skeleton: Skeleton, *, train: bool, seed: int = 0
    ) -> None:
        if train:  # so that whichever photograph replaces one that is skipped shows somebody
            annotations = annotations.select(np.flatnonzero(annotations.labelled_per_image > 0))
        super().__init__(annotations, config, skeleton, train=train, seed=seed)
        self.rows = np.flatnonzero(~self.is_unlabelled)
        detected = None if train or config.detections.file is None else read_detections(config.detections, annotations)
        self.people = self._annotated() if detected is None else detected
        self.has_truth = detected is None
        if train and not len(self.rows):
            raise ValueError(f"{annotations.file}: nobody to train on has labelled keypoints; check data.train_split")
        self.hw = (config.crop_size[0], config.crop_size[1])
        warp = PersonWarp(config, config.augmentation if train else _OFF)
        color = color_transforms(config.augmentation.color) if train else []
        self.pipeline = Pipeline([*color, warp])
        is_lower = [any(part in joint for part in _LOWER_BODY) for joint in skeleton.joints]
        self.halves = np.array([is_lower, np.logical_not(is_lower)])

    def __len__(self) -> int:
        return max(1, len(self.people.image))

    def _number(self, sample: int) -> int:
        return int(self.people.image[sample])

    def _open(self, key: int | Draw, place: NDArray[np.uint8] | None = None) -> Opened:
        if len(self.people.image):
            return super()._open(key, place)
        return Opened(0, None, 0, None, None)

    def _draw(self, opened: Opened) -> Drawn:
        if opened.photograph is None:
            return self._nobody(opened)
        index = opened.sample
        self._seed(index, opened.epoch)
        if opened.number != self.people.image[index]:  # unreadable and skipped: someone of the next readable photograph
            index = int(np.searchsorted(self.people.image, opened.number))
        return self._drawn(opened, index, person_box=self.people.boxes[index], half_body_boxes=self._half_bodies(index))

    def _annotated(self) -> Boxes:
        number = np.searchsorted(self.annotations.offsets, self.rows, side="right") - 1
        return Boxes(number, self.annotations.boxes[self.rows], np.ones(len(self.rows), dtype=np.float32))

    def _finish(self, drawn: list[Drawn]) -> list[Sample]:
        which = np.flatnonzero([not each.is_blank for each in drawn])
        indices = np.array([drawn[position].sample for position in which.tolist()], dtype=np.int64)
        persons = warp_people(
            self._truth(indices),
            which,
            [each.placed for each in drawn],
            self.flip_permutation,
            keeps_outside=self.config.joints_outside is JointsOutside.keep,
        )
        ends = np.searchsorted(which, np.arange(len(drawn)), side="right").tolist()
        return [
            self._crop(each, persons.select(slice(end - (not each.is_blank), end)))
            for each, end in zip(drawn, ends, strict=True)
        ]

    def _truth(self, indices: NDArray[np.int64]) -> People:
        """Who is cropped; a detection has nothing labelled and the area of its box."""
        if self.has_truth:
            return self._people(self.rows[indices])
        boxes, joints = self.people.boxes[indices], len(self.flip_permutation)
        sides = boxes[:, 2:] - boxes[:, :2]
        return People(
            keypoints=np.zeros((len(indices), joints, 2), np.float32),
            visibility=np.zeros((len(indices), joints), np.uint8),
            boxes=boxes,
            areas=sides[:, 0] * sides[:, 1],
        )

    def _half_bodies(self, index: int) -> NDArray[np.float32]:
        """Boxes around the labelled joints of the lower and of the upper body, each if it has more than two.

        Only of a person with more than 8 labelled joints. (HRNet centres on the mean of the joints instead.)
        """
        if self.config.augmentation.half_body <= 0 or not self.has_truth:
            return _NO_BOXES
        row = self.rows[index]
        keypoints, is_labelled = self.annotations.keypoints[row], self.annotations.visibility[row] > 0
        if is_labelled.sum() <= _HALF_BODY_KEYPOINTS:
            return _NO_BOXES
        chosen = [keypoints[half & is_labelled] for half in self.halves]
        boxes = [np.concatenate([points.min(axis=0), points.max(axis=0)]) for points in chosen if len(points) > 2]
        has_extent = [box for box in boxes if (box[2:] - box[:2]).max() >= 1]
        return np.array(has_extent, dtype=np.float32).reshape(-1, 4)

    def _nobody(self, opened: Opened) -> Drawn:
        """A black crop under the ids of a photograph."""
        placed = Placed(identity(), self.hw, False)
        image, is_in_place = self._presented(np.zeros((*self.hw, 3), np.uint8), placed)
        return Drawn(opened.sample, opened.number, image, placed, True, is_in_place)

    def _crop(self, drawn: Drawn, person: People) -> Sample:
        number = drawn.number
        height, width = self.annotations.image_hw[number].tolist()
        return Sample(
            image=drawn.image,
            persons=person,
            ignore=None,
            instance_masks=None,
            meta=SampleMeta(
                sample_id=drawn.sample,
                image_id=int(self.annotations.image_ids[number]),
                original_hw=(height, width),
                input_hw=self.hw,
                to_original=invert(drawn.placed.matrix),
                detection_score=0.0 if drawn.is_blank else float(self.people.scores[drawn.sample]),
            ),
        )
