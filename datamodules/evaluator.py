"""Predictions -> COCO keypoint and mask figures. No Lightning in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools.coco import COCO as CocoIndex

from datamodules import coco_backend
from datamodules.config import EvaluationBackend, OnBadAnnotation
from datamodules.contracts import Predictions
from datamodules.ground_truth import EvaluationError, read_ground_truth
from datamodules.mask_figures import RunLengths, encode_masks, score_masks
from datamodules.results import MAX_DETECTIONS, Suppress, best_rows, person_areas, to_host, to_result
from datamodules.skeleton import COCO, Skeleton

FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
"""COCO's ten keypoint figures in the order of ``COCOeval.stats``."""


class ScoredSample(NamedTuple):
    """The valid people of one sample."""

    image_id: int
    keypoints: np.ndarray
    """f32 [n, K, 3], x, y, score in the photograph's continuous pixels."""
    scores: np.ndarray
    """f32 [n]."""
    areas: np.ndarray
    """f32 [n], as ``Predictions.areas``."""
    masks: list[RunLengths] | None = None
    """n run lengths at the photograph's size, where masks are predicted."""


class CocoKeypointEvaluator:
    """Collects predictions and scores them against a COCO keypoint file.

    Every sample counts once, however often it comes: repeats are dropped by ``sample_id``, so a distributed sampler
    that pads its last round changes nothing. Over several processes each one gathers the others' ``state`` and merges.

    Args:
        annotation_file: COCO keypoint annotations.
        image_ids: score these images only; None is every image of the file.
        skeleton: gives K and the OKS sigmas.
        suppress: leaves duplicates out, where people of one image come from several samples. None keeps all.
        backend: what computes the figures.
        on_bad: of annotations that cannot be scored, as in training.

    Raises:
        EvaluationError: as ``read_ground_truth``, or the backend is not installed.
    """

    def __init__(
        self,
        annotation_file: str | Path,
        *,
        image_ids: Iterable[int] | None = None,
        skeleton: Skeleton = COCO,
        suppress: Suppress | None = None,
        backend: EvaluationBackend = EvaluationBackend.pycocotools,
        on_bad: OnBadAnnotation = OnBadAnnotation.error,
    ) -> None:
        coco_backend.check_backend(backend)
        self.backend = backend
        self.annotation_file = Path(annotation_file)
        self.skeleton = skeleton
        self.suppress = suppress
        self.ground_truth = read_ground_truth(self.annotation_file, image_ids, skeleton, on_bad)
        self._samples: dict[int, ScoredSample] = {}
        self._results: list[dict[str, Any]] | None = None
        """What ``results`` gave, until another sample comes: suppression takes long, and the metrics and the file are
        of the same people."""
        self.num_dropped = 0
        """People dropped because their score or a coordinate was not finite."""

    def reset(self) -> None:
        self._samples, self._results = {}, None
        self.num_dropped = 0

    def update(self, predictions: Predictions) -> None:
        """Take in a batch, from any device in one transfer.

        Raises:
            EvaluationError: an image the file lacks, or another number of keypoints than the skeleton's.
        """
        if predictions.keypoints.shape[2] != self.skeleton.num_keypoints:
            raise EvaluationError(
                f"predictions have {predictions.keypoints.shape[2]} keypoints, "
                f"skeleton {self.skeleton.name} has {self.skeleton.num_keypoints}"
            )
        keypoints, scores, is_valid, sample_ids, image_ids = to_host(predictions)
        is_finite = np.isfinite(scores) & np.isfinite(keypoints).all(axis=(2, 3))
        self.num_dropped += int((is_valid & ~is_finite).sum())
        is_kept = is_valid & is_finite
        self._results = None
        areas = person_areas(predictions)
        for row, (sample_id, image_id) in enumerate(zip(sample_ids.tolist(), image_ids.tolist(), strict=True)):
            if image_id not in self.ground_truth.known_ids:
                raise EvaluationError(f"{self.annotation_file}: predictions name image id {image_id}, not in the file")
            if sample_id in self._samples:
                continue
            kept = is_kept[row]
            masks = None if predictions.masks is None else _kept_masks(predictions.masks[row], kept)
            found, found_scores, found_areas = keypoints[row, kept], scores[row, kept], areas[row, kept]
            self._samples[sample_id] = ScoredSample(image_id, found, found_scores, found_areas, masks)

    def state(self) -> dict[int, ScoredSample]:
        """Everything taken in so far by ``sample_id``: picklable, for ``merge`` in another process."""
        return dict(self._samples)

    def merge(self, state: Mapping[int, ScoredSample]) -> None:
        """Take in another process's ``state``; a sample already here keeps its first predictions."""
        self._results = None
        for sample_id, sample in state.items():
            self._samples.setdefault(sample_id, sample)

    def results(self) -> list[dict[str, Any]]:
        """COCO's result format: the ``MAX_DETECTIONS`` best people of each image, ready for ``json.dump``.

        Keypoints are pixel indices (0.5 less than continuous), rounded to a thousandth of a pixel; ``compute`` scores
        just these. The order does not depend on the order of ``update`` and ``merge``. Do not change what is returned.
        """
        if self._results is None:
            self._results = self._collect_results()
        return self._results

    def _collect_results(self) -> list[dict[str, Any]]:
        people: dict[int, list[ScoredSample]] = {}
        wanted = set(self.ground_truth.image_ids)
        for _, sample in sorted(self._samples.items()):
            if sample.image_id in wanted:
                people.setdefault(sample.image_id, []).append(sample)
        return [
            to_result(image_id, self.ground_truth.category_id, keypoints, score)
            for image_id, samples in sorted(people.items())
            for score, keypoints in self._best(samples)
        ]

    def _best(self, samples: list[ScoredSample]) -> list[tuple[float, np.ndarray]]:
        """Score and keypoints of the people of an image, best first."""
        keypoints = np.concatenate([sample.keypoints for sample in samples])
        scores = np.concatenate([sample.scores for sample in samples])
        areas = np.concatenate([sample.areas for sample in samples])
        return [(float(scores[row]), keypoints[row]) for row in best_rows(keypoints, scores, areas, self.suppress)]

    def compute(self) -> dict[str, float]:
        """COCO's ten figures in [0, 1], named as in ``FIGURES``; with masks also ``segm/AP`` and its kin.

        Without a detection they are 0. Where the split has no labelled person at all, COCO gives -1: the overall
        figures are then 0, and those of an area range that holds nobody are NaN.
        """
        figures = self.score(self.results())
        if any(sample.masks is not None for sample in self._samples.values()):
            figures |= self.score_masks(self.mask_results())
        return figures

    def score_masks(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """``segm/AP`` and its kin of any list in COCO's result format for segmentation.

        Raises:
            EvaluationError: an annotation has no ``segmentation``.
        """
        scored = score_masks(self._ground_truth_with_masks(), results, self.backend)
        return {f"segm/{name}": figure for name, figure in scored.items()}

    def mask_results(self) -> list[dict[str, Any]]:
        """COCO's result format for segmentation, the people of ``results``."""
        people: dict[int, list[tuple[float, RunLengths]]] = {}
        wanted = set(self.ground_truth.image_ids)
        for _, sample in sorted(self._samples.items()):
            if sample.image_id in wanted and sample.masks is not None:
                people.setdefault(sample.image_id, []).extend(zip(sample.scores.tolist(), sample.masks, strict=True))
        return [
            {"image_id": image_id, "category_id": self.ground_truth.category_id, "segmentation": mask, "score": score}
            for image_id, found in sorted(people.items())
            for score, mask in sorted(found, key=lambda person: -person[0])[:MAX_DETECTIONS]
        ]

    def _ground_truth_with_masks(self) -> CocoIndex:
        for annotation in self.ground_truth.index.dataset["annotations"]:
            if "segmentation" not in annotation:
                raise EvaluationError(
                    f"{self.annotation_file}: annotation {annotation.get('id')}: 'segmentation' is missing, so masks "
                    f"cannot be scored; switch them off with model.decode.masks=false"
                )
        return self.ground_truth.index

    def score(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """The figures of any list in COCO's result format, for instance one that was read from a file."""
        evaluation = self._evaluation(results)
        figures = zip(FIGURES, coco_backend.figures(evaluation), strict=True)
        return {name: figure if figure >= 0 else _nobody(name) for name, figure in figures}

    def match(
        self, results: list[dict[str, Any]], *, thresholds: Sequence[float] | None = None, image_ids: Any = None
    ) -> dict[int, dict[str, Any] | None]:
        """COCO's matching of ``results`` with people of any size.

        Args:
            results: COCO's result format; the entry numbered n from 0 has the id n + 1 in ``dtIds``.
            thresholds: of OKS; None is COCO's ten.
            image_ids: match in these images only; ``results`` must lie in the evaluator's own.

        Returns:
            By image id, in order, what ``COCOeval.evaluateImg`` gives; None where nobody is annotated or found.
        """
        chosen = self.ground_truth.image_ids if image_ids is None else sorted(image_ids)
        evaluation = self._evaluation(results)
        params = evaluation.params
        params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
        params.iouThrs = params.iouThrs if thresholds is None else np.asarray(thresholds)
        params.imgIds = chosen
        coco_backend.match(evaluation)
        matched = {image["image_id"]: image for image in evaluation.evalImgs if image is not None}
        return {image_id: matched.get(image_id) for image_id in chosen}

    def _evaluation(self, results: list[dict[str, Any]]) -> Any:
        evaluation = coco_backend.new_evaluation(self.ground_truth.index, results, "keypoints", self.backend)
        coco_backend.set_sigmas(evaluation, self.skeleton.sigmas)
        return evaluation


def _kept_masks(masks: tuple[torch.Tensor, ...], is_kept: np.ndarray) -> list[RunLengths]:
    return encode_masks(mask for mask, kept in zip(masks, is_kept[: len(masks)].tolist(), strict=True) if kept)


def _nobody(figure: str) -> float:
    return math.nan if figure.endswith(("M", "L")) else 0.0
