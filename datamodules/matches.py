"""COCO's matching of a result list, packed for computing AP many times: of resampled images, of repaired people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO reads the precision."""


class Matches(NamedTuple):
    """N images with D people found, best first, at T thresholds of OKS."""

    num_people: NDArray[np.int64]
    """[N], annotated people that count."""
    image: NDArray[np.int64]
    """[D], number of the image."""
    counts: NDArray[np.bool_]
    """[T, D], False where the match is a crowd or somebody without labelled keypoints."""
    hits: tuple[NDArray[np.int64], ...]
    """T index arrays into D: the true positives."""


def pack(images: Iterable[dict[str, Any] | None], without: Sequence[NDArray[np.bool_]] | None = None) -> Matches:
    """The images of ``CocoKeypointEvaluator.match`` -> ``Matches``.

    Args:
        images: what ``COCOeval.evaluateImg`` gives, image by image; None is an image without anybody.
        without: for each image bool [d], people to leave out.
    """
    images = list(images)
    present = [image for image in images if image is not None]
    number = [index for index, image in enumerate(images) if image is not None]
    num_people = np.zeros(len(images), dtype=np.int64)
    for index, image in zip(number, present, strict=True):
        num_people[index] = np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)
    if not present:
        return Matches(num_people, np.zeros(0, np.int64), np.zeros((0, 0), bool), ())
    scores = np.concatenate([np.asarray(image["dtScores"], dtype=np.float64) for image in present])
    where = np.repeat(number, [len(image["dtScores"]) for image in present])
    is_matched = np.concatenate([np.asarray(image["dtMatches"]) > 0 for image in present], axis=1)
    counts = np.concatenate([np.asarray(image["dtIgnore"]) == 0 for image in present], axis=1)
    order = np.argsort(-scores, kind="mergesort")  # COCO's own, which decides ties
    if without is not None:
        left_out = np.concatenate([without[index] for index in number])
        order = order[~left_out[order]]
    is_hit = (is_matched & counts)[:, order]
    hits = tuple(np.flatnonzero(row) for row in is_hit)
    return Matches(num_people, where[order].astype(np.int64), counts[:, order], hits)


def average_precision(matches: Matches, weights: NDArray[np.int64] | None = None, first: int = 0) -> float:
    """COCO's AP, the mean precision over thresholds and ``RECALLS``, in [0, 1]; NaN where nobody is annotated.

    Equal to pycocotools on a data set that holds image n ``weights[n]`` times.

    Args:
        weights: i64 [N], how often each image counts; None is once.
        first: leave out the thresholds before this one.
    """
    weights = np.ones(len(matches.num_people), dtype=np.int64) if weights is None else weights
    people = int((weights * matches.num_people).sum())
    if people == 0:
        return float("nan")
    weight = weights[matches.image]
    means = [
        _mean_precision(np.cumsum(np.where(counts, weight, 0))[hits], np.cumsum(weight[hits]), people)
        for counts, hits in zip(matches.counts[first:], matches.hits[first:], strict=True)
    ]
    return float(np.mean(means)) if means else 0.0


def _mean_precision(found: NDArray[np.int64], right: NDArray[np.int64], people: int) -> float:
    """Precision is highest at a true positive, so only these are looked at: [h] people found and right up to each."""
    if len(right) == 0:
        return 0.0
    precision = right / (found + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(right / people, RECALLS, side="left")
    return float(envelope[at[at < len(envelope)]].sum() / len(RECALLS))
