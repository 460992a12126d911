"""Person masks from attention, and the merging of people whose masks overlap (Section 2.5). On the CPU.

Letters: n candidates of an image, m people, L cells of the token grid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SMALLEST_PEAK = 1e-12


class Instances(NamedTuple):
    """People of an image, best first."""

    people: np.ndarray
    """i64 [m, K], candidate of each joint or -1."""
    scores: np.ndarray
    """f64 [m], mean of all K joint scores, 0 for a joint that was not found."""
    attention: np.ndarray
    """f32 [m, L], mean attention of the found joints divided by its maximum."""


def person_maps(people: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """f32 [m, L]: mean of the ``rows`` [n, L] of each person's candidates, divided by its maximum."""
    is_found = people >= 0
    member = np.zeros((len(people), len(rows)), dtype=np.float32)
    member[np.nonzero(is_found)[0], people[is_found]] = 1.0
    mean = member @ rows / np.maximum(is_found.sum(1, keepdims=True), 1).astype(np.float32)
    return mean / np.maximum(mean.max(1, keepdims=True, initial=0.0), SMALLEST_PEAK)


def person_scores(people: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """f64 [m]: mean joint score, zeros included."""
    if not len(scores):
        return np.zeros(len(people))
    return np.where(people >= 0, scores[people], 0.0).mean(1)


def merge_overlapping(
    people: np.ndarray, scores: np.ndarray, rows: np.ndarray, *, mask_threshold: float, overlap: float
) -> Instances:
    """Unite people until no two masks intersect in more than ``overlap`` of the larger one's area.

    choice: the paper suppresses such people, its reason being that one person's joints fell into several; here the
    better person takes the other's joints, of two of the same type the one with the larger score, and its mask is
    made anew. Masks are compared on the token grid. Pairs are united in descending order of their better person.

    Args:
        people: i64 [m, K].
        scores: f64 [n], of the candidates.
        rows: f32 [n, L], attention of the candidates.
        mask_threshold: on the normalised attention.
        overlap: intersection over maximum; 1 unites nobody.
    """
    people = people[np.argsort(-person_scores(people, scores), kind="stable")].copy()
    attention = person_maps(people, rows)
    masks = (attention > mask_threshold).astype(np.float32)
    areas = masks.sum(1)
    shared = masks @ masks.T
    is_alive = np.ones(len(people), dtype=bool)
    first = 0
    while first < len(people):
        ratio = shared[first] / np.maximum(np.maximum(areas[first], areas), 1)
        hits = np.flatnonzero(ratio > overlap)
        hits = hits[hits != first]
        if not len(hits):
            first += 1
            continue
        first, other = min(first, int(hits[0])), max(first, int(hits[0]))
        people[first] = _union(people[first], people[other], scores)
        attention[first] = person_maps(people[first : first + 1], rows)[0]
        is_alive[other], masks[other] = False, 0.0
        masks[first] = attention[first] > mask_threshold
        shared[other] = shared[:, other] = 0.0
        shared[first] = shared[:, first] = masks @ masks[first]
        areas[first] = shared[first, first]
    people, attention = people[is_alive], attention[is_alive]
    best_first = np.argsort(-person_scores(people, scores), kind="stable")
    return Instances(people[best_first], person_scores(people, scores)[best_first], attention[best_first])


def _union(person: np.ndarray, other: np.ndarray, scores: np.ndarray) -> np.ndarray:
    theirs_is_better = (other >= 0) & ((person < 0) | (scores[other] > scores[person]))
    return np.where(theirs_is_better, other, person)
