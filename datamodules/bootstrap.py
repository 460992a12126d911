"""Whether one result file is better than another, or luck with the images: a paired bootstrap of AP."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datamodules.matches import Matches, average_precision


class Comparison(NamedTuple):
    """AP of two results on the same images, in [0, 1]."""

    first: float
    second: float
    difference: float
    """``second - first``."""
    low: float
    high: float
    """Ends of the percentile interval of the difference."""
    better: float
    """Share of the resamples in which the second is above the first, ties counting half."""
    resamples: int
    """That could be scored."""


def compare(
    first: Matches, second: Matches, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Draw images with replacement, score both results on each draw, and read the interval off the differences.

    Efron's percentile interval. Both results see the same draws, so that hard images, which both find hard, do not
    widen it. A draw without annotated people is left out.

    Args:
        first: of the same images in the same order as ``second``.
        resamples: how many draws.
        confidence: what the interval is to cover.
        seed: of the draws.

    Raises:
        ValueError: other images, no annotated person at all, or no resamples.
    """
    images = len(first.num_people)
    if not np.array_equal(first.num_people, second.num_people):
        raise ValueError("both results must be matched with the same images")
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples={resamples}, confidence={confidence}: at least 1, and between 0 and 1")
    if first.num_people.sum() == 0:
        raise ValueError("nobody is annotated in these images, so there is no AP to compare")
    generator = np.random.default_rng(seed)
    scores = []
    for _ in range(resamples):
        weights = np.bincount(generator.integers(0, images, images), minlength=images)
        scores.append([average_precision(first, weights), average_precision(second, weights)])
    differences = np.diff(np.array(scores), axis=1)[:, 0]
    differences = differences[np.isfinite(differences)]
    if len(differences) == 0:
        raise ValueError("no draw of images shows an annotated person")
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(differences, [tail, 100 - tail])
    better = float(np.mean(differences > 0) + np.mean(differences == 0) / 2)
    one, two = average_precision(first), average_precision(second)
    return Comparison(one, two, two - one, float(low), float(high), better, len(differences))
