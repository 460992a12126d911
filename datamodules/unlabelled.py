"""Photographs without annotations as the samples an evaluation would make of them: same geometry, same padding."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.augmentation import Pipeline, build_pipeline, start
from datamodules.collate import Collate
from datamodules.config import AugmentationConfig, DataConfig, Resize, View, WarpPlace
from datamodules.geometry import Matrix, invert
from datamodules.image_dataset import Sample, SampleMeta
from datamodules.people import People, Placed, warp_people
from datamodules.person_dataset import PersonWarp
from datamodules.skeleton import Skeleton

_OFF = AugmentationConfig(flip=0.0)


class UnlabelledSamples:
    """Callable: a photograph -> one sample of the whole, or one per box where ``config.view`` is of persons.

    Args:
        config: of the run whose evaluation is followed; pixels are warped here, as under ``data.warp=worker``.
        skeleton: gives K.
        from_bgr: photographs come in OpenCV's order of channels; samples are RGB all the same. To exchange the
            channels of a sample takes less than those of a photograph.
    """

    def __init__(self, config: DataConfig, skeleton: Skeleton, *, from_bgr: bool = False) -> None:
        self.config = config = replace(config, warp=WarpPlace.worker)
        self.from_bgr = from_bgr
        if from_bgr:
            config = replace(config, mean=config.mean[::-1])  # of which is what lies outside the photograph
        self.num_keypoints = skeleton.num_keypoints
        self.takes_boxes = config.view is View.person
        self.pipeline = (
            Pipeline([PersonWarp(config, _OFF)]) if self.takes_boxes else build_pipeline(config, train=False)
        )

    def __call__(
        self,
        photograph: NDArray[np.uint8],
        image_id: int,
        boxes: NDArray[np.float32] | None = None,
        scores: NDArray[np.float32] | None = None,
    ) -> list[Sample]:
        """Samples of ``photograph`` u8 [H, W, 3]; numbered from 0, so ``meta.sample_id`` is unique within it.

        Args:
            photograph: upright; RGB, or BGR under ``from_bgr``.
            image_id: goes into ``meta``.
            boxes: f32 [n, 4], x0 y0 x1 y1 with an area, inside the photograph; n may be 0. For a person view only.
            scores: f32 [n], of the boxes.
        """
        if not self.takes_boxes:
            return [self._whole(photograph, image_id)]
        if boxes is None or scores is None:
            raise TypeError("a person view takes boxes and their scores")
        people = enumerate(zip(boxes, scores, strict=True))
        return [self._person(photograph, image_id, number, box, float(score)) for number, (box, score) in people]

    def collate(self) -> Collate:
        """As the evaluation pads its batches."""
        config = self.config
        of_crops = self.takes_boxes or config.resize is Resize.shorter_side
        return Collate(config.pad_multiple, 0 if of_crops else config.size)

    def _whole(self, photograph: NDArray[np.uint8], image_id: int) -> Sample:
        drawn = self.pipeline(**start(photograph))
        empty = np.zeros((0, 4), dtype=np.float32)
        return self._sample(drawn["image"], drawn["matrix"], photograph, image_id, 0, empty, 1.0)

    def _person(
        self, photograph: NDArray[np.uint8], image_id: int, number: int, box: NDArray[np.float32], score: float
    ) -> Sample:
        nobody_half = np.zeros((0, 4), dtype=np.float32)
        drawn = self.pipeline(**start(photograph), person_box=box, half_body_boxes=nobody_half)
        return self._sample(drawn["image"], drawn["matrix"], photograph, image_id, number, box[None], score)

    def _sample(
        self,
        image: NDArray[np.uint8],
        matrix: Matrix,
        photograph: NDArray[np.uint8],
        image_id: int,
        number: int,
        boxes: NDArray[np.float32],
        score: float,
    ) -> Sample:
        count, (height, width) = len(boxes), image.shape[:2]
        people = People(
            keypoints=np.zeros((count, self.num_keypoints, 2), np.float32),
            visibility=np.zeros((count, self.num_keypoints), np.uint8),
            boxes=boxes,
            areas=np.zeros(count, np.float32),
        )
        placed = Placed(matrix, (height, width), False)
        return Sample(
            image=np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8) if self.from_bgr else image,
            persons=warp_people(people, np.zeros(count, np.int64), [placed], ()),
            ignore=None,
            instance_masks=None,
            meta=SampleMeta(
                sample_id=number,
                image_id=image_id,
                original_hw=(photograph.shape[0], photograph.shape[1]),
                input_hw=placed.hw,
                to_original=invert(matrix),
                detection_score=score,
            ),
        )
