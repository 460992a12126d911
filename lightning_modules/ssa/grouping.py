"""Detected keypoints -> people, by the attention between them (Section 2.4). On the CPU, vectorised over candidates.

Every function takes the candidates of one image and returns people as i64 [m, K]: the candidate of each joint, or -1.

Attraction(c, S) = mean over the found (x', y', s') of S of s' · A[c, found]: the row belongs to the candidate, the
column to what was found, and A is not symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from datamodules.skeleton import COCO, Skeleton

PART_ORDER = ("nose", "eye", "ear", "shoulder", "hip", "elbow", "wrist", "knee", "ankle")
"""choice: the paper says a fixed order from the easiest joint, such as the nose; this is HigherHRNet's."""
COCO_EDGES = (
    *((0, 1), (0, 2), (0, 3), (0, 4), (3, 5), (4, 6), (5, 7), (5, 11), (6, 8), (6, 12)),
    *((7, 9), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 6), (15, 16), (13, 14), (11, 12)),
)
"""The kinematic graph of Appendix A.2."""


class Candidates(NamedTuple):
    """The n candidates of an image."""

    joints: np.ndarray
    """i64 [n], joint type."""
    scores: np.ndarray
    """f64 [n], heatmap value, positive."""
    affinity: np.ndarray
    """f64 [n, n]: A[cell of the row's candidate, cell of the column's]."""


def part_order(skeleton: Skeleton) -> tuple[int, ...]:
    """Joint indices in the order of ``PART_ORDER``, left before right; unknown names last, in their own order."""

    def rank(joint: str) -> int:
        name = joint.removeprefix("left_").removeprefix("right_")
        return PART_ORDER.index(name) if name in PART_ORDER else len(PART_ORDER)

    return tuple(sorted(range(skeleton.num_keypoints), key=lambda index: rank(skeleton.joints[index])))


def search_paths(skeleton: Skeleton) -> tuple[tuple[int, ...], ...]:
    """For each joint type the other types, breadth-first over the kinematic graph; unreachable ones last.

    choice: the paper searches along its graph without an order; neighbours are visited as the edges are listed.
    A skeleton other than COCO's uses its limbs.
    """
    edges = COCO_EDGES if skeleton.joints == COCO.joints else skeleton.limb_indices
    paths = []
    for start in range(skeleton.num_keypoints):
        path = [start]
        for joint in path:  # grows while it is read
            neighbours = [b if a == joint else a for a, b in edges if joint in (a, b)]
            path += [neighbour for neighbour in dict.fromkeys(neighbours) if neighbour not in path]
        path += [joint for joint in range(skeleton.num_keypoints) if joint not in path]
        paths.append(tuple(path[1:]))
    return tuple(paths)


def part_first(candidates: Candidates, order: Sequence[int], *, threshold: float, scored: bool = False) -> np.ndarray:
    """Joint type by joint type, assign candidates to people by the Hungarian method.

    A candidate whose match attracts it by less than ``threshold``, or that has no match, seeds a person.

    Args:
        order: all K joint types.
        threshold: λ.
        scored: maximise score × attraction instead of attraction.
    """
    attracts = _attracts(candidates)
    people = np.full((0, len(order)), -1, dtype=np.int64)
    total = np.zeros((len(attracts), 0))  # Σ s'·A per candidate and person
    for joint in order:
        found = np.flatnonzero(candidates.joints == joint)
        if not len(found):
            continue
        attraction = total[found] / (people >= 0).sum(1)
        value = attraction * candidates.scores[found, None] if scored else attraction
        matched, person = linear_sum_assignment(value, maximize=True)
        is_kept = attraction[matched, person] >= threshold
        matched, person = found[matched[is_kept]], person[is_kept]
        people[person, joint] = matched
        total[:, person] += attracts[:, matched]
        seeds = np.setdiff1d(found, matched)
        started = np.full((len(seeds), len(order)), -1, dtype=np.int64)
        started[:, joint] = seeds
        people = np.concatenate([people, started])
        total = np.concatenate([total, attracts[:, seeds]], axis=1)
    return people


def body_first(candidates: Candidates, paths: Sequence[Sequence[int]], *, threshold: float) -> np.ndarray:
    """Person by person from the best unclaimed candidate; the next joint of the path is the best by Eq. 5.

    A claimed candidate is considered if the new person attracts it more than the rest of its owner does; its owner
    then loses it and looks for no other. A person that lost every joint is dropped.

    Args:
        paths: for each joint type the order in which a person seeded by it looks for the others.
        threshold: λ; where the best attracts less, the joint stays empty.
    """
    attracts = _attracts(candidates)
    count, joints = len(attracts), len(paths)
    pools = [np.flatnonzero(candidates.joints == joint) for joint in range(joints)]
    people = np.full((count, joints), -1, dtype=np.int64)
    total = np.zeros((count, count))  # Σ s'·A per person and candidate; a member's own term is 0
    sizes = np.zeros(count, dtype=np.int64)
    owner = np.full(count, -1, dtype=np.int64)
    person = 0
    for seed in np.argsort(-candidates.scores, kind="stable"):
        if owner[seed] >= 0:
            continue
        people[person, candidates.joints[seed]] = seed
        owner[seed], sizes[person] = person, 1
        total[person] = attracts[:, seed]
        attracts_anyone = total[person].max() >= threshold
        for joint in paths[candidates.joints[seed]] if attracts_anyone else ():
            best = _most_attracted(candidates.scores, total, sizes, owner, pools[joint], person, threshold)
            if best < 0:
                continue
            robbed = owner[best]
            if robbed >= 0:
                people[robbed, joint] = -1
                sizes[robbed] -= 1
                total[robbed] = attracts[:, people[robbed][people[robbed] >= 0]].sum(1)
            people[person, joint], owner[best] = best, person
            sizes[person] += 1
            total[person] += attracts[:, best]
        person += 1
    return people[sizes > 0]


def _most_attracted(
    scores: np.ndarray,
    total: np.ndarray,
    sizes: np.ndarray,
    owner: np.ndarray,
    pool: np.ndarray,
    person: int,
    threshold: float,
) -> int:
    """The candidate of ``pool`` that ``person`` takes, or -1."""
    if not len(pool):
        return -1
    attraction = total[person, pool] / sizes[person]
    owners = owner[pool]
    rival = np.where(owners >= 0, total[owners, pool] / np.maximum(sizes[owners] - 1, 1), -1.0)
    value = np.where(attraction > rival, scores[pool] * attraction, -1.0)
    best = int(value.argmax())  # Eq. 5
    return int(pool[best]) if value[best] >= 0 and attraction[best] >= threshold else -1


def _attracts(candidates: Candidates) -> np.ndarray:
    """s'·A, f64 [n, n], with 0 for a candidate on itself."""
    attracts = candidates.affinity * candidates.scores[None]
    np.fill_diagonal(attracts, 0.0)
    return attracts
