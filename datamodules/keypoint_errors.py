"""Where keypoint AP is lost: jitter, inversion, swap and miss, background false positives and false negatives.

After Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation", ICCV 2017. All
coordinates are COCO's, as in annotation and result files.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.evaluator import CocoKeypointEvaluator
from datamodules.matches import average_precision, pack

GOOD_SIMILARITY = 0.85
"""Keypoint similarity that annotators reach among themselves (Section 4.1)."""
NEAR_SIMILARITY = 0.5
"""Keypoint similarity within which a detection is near a joint (Section 4.1)."""
MATCHING_OKS = 0.1
"""People are matched at this OKS, so that badly localised ones are diagnosed and not counted as background."""
BACKGROUND = ("false_positive", "false_negative")


class KeypointKind(IntEnum):
    """Of a keypoint of a matched person."""

    unlabelled = -1
    good = 0
    """At the joint, within the annotators' own spread."""
    jitter = 1
    """Near the joint, not within that spread."""
    inversion = 2
    """At the joint of the other side of the same person."""
    swap = 3
    """At the same joint, of either side, of another person."""
    miss = 4
    """Near none of these."""


ERRORS = (KeypointKind.jitter, KeypointKind.inversion, KeypointKind.swap, KeypointKind.miss)
KINDS = (*(kind.name for kind in ERRORS), *BACKGROUND)
"""Names of what costs AP, in the order of tables."""


class MatchedPerson(NamedTuple):
    """A person found and who it is."""

    result: int
    """Number of the entry in the result list."""
    annotation: dict[str, Any]
    kinds: NDArray[np.int8]
    """[K], of ``KeypointKind``."""
    oks: float


class ImageErrors(NamedTuple):
    image_id: int
    matched: list[MatchedPerson]
    false_positives: list[int]
    """Numbers of entries of the result list that match nobody at any threshold."""
    false_negatives: list[dict[str, Any]]
    """Annotations nobody was matched with."""

    @property
    def loss(self) -> float:
        """Sum over the annotated people of 1 - OKS, 1 for who was not found."""
        return sum(1 - person.oks for person in self.matched) + len(self.false_negatives)


class Diagnosis(NamedTuple):
    ap: float
    """COCO's AP of the results, in [0, 1]."""
    gains: dict[str, float]
    """Kind -> AP gained if only its errors were repaired."""
    ap_repaired: float
    """AP if all of them were; what is missing to 1 is the order of scores and duplicates."""
    keypoints: NDArray[np.int64]
    """[K, 5], labelled keypoints of matched people by joint and ``KeypointKind`` from ``good`` on."""
    people: dict[str, int]
    """``annotated``, ``matched``, ``false_positive``, ``false_negative``."""
    images: list[ImageErrors]
    """Worst first."""

    @property
    def shares(self) -> dict[str, float]:
        """Kind -> share of its gain in the sum of gains; 0 where nothing is lost."""
        lost = sum(max(gain, 0.0) for gain in self.gains.values())
        return {kind: max(gain, 0.0) / lost if lost > 0 else 0.0 for kind, gain in self.gains.items()}


def diagnose(evaluator: CocoKeypointEvaluator, results: list[dict[str, Any]]) -> Diagnosis:
    """Classify every error in ``results`` (COCO's result format) and weigh each kind by the AP that it costs.

    A keypoint is repaired by putting it on its joint, a false positive by leaving it out, a false negative by not
    asking for the person. Gains are each alone, on the results as they are, so they need not add up.
    """
    # choice: the authors' program moves a repaired keypoint only to the edge of its class; "fixed" here is fixed.
    skeleton = evaluator.skeleton
    thresholds = [MATCHING_OKS, *np.linspace(0.5, 0.95, 10).tolist()]
    matched_images = evaluator.match(results, thresholds=thresholds)
    sigmas, mirror = np.asarray(skeleton.sigmas), np.asarray(skeleton.flip_permutation)
    images = [
        _image_errors(image_id, matching, evaluator.ground_truth.people(image_id), results, sigmas, mirror)
        for image_id, matching in matched_images.items()
        if matching is not None
    ]

    def repaired(*kinds: KeypointKind) -> dict[Any, Any]:
        changed, entries = _repair(images, results, set(kinds))
        if not changed:
            return matched_images
        return matched_images | evaluator.match(entries, thresholds=thresholds, image_ids=changed)

    ap = _score(matched_images)
    gains = {kind.name: _score(repaired(kind)) - ap for kind in ERRORS}
    gains["false_positive"] = _score(matched_images, without_positives=True) - ap
    gains["false_negative"] = _score(matched_images, without_negatives=True) - ap
    everything = _score(repaired(*ERRORS), without_positives=True, without_negatives=True)
    kinds = [person.kinds for image in images for person in image.matched]
    stacked = np.array(kinds, dtype=np.int64).reshape(-1, skeleton.num_keypoints)
    people = {
        "annotated": sum(len(image.matched) + len(image.false_negatives) for image in images),
        "matched": len(kinds),
        "false_positive": sum(len(image.false_positives) for image in images),
        "false_negative": sum(len(image.false_negatives) for image in images),
    }
    return Diagnosis(
        ap=ap,
        gains=gains,
        ap_repaired=everything,
        keypoints=np.stack([(stacked == kind).sum(axis=0) for kind in range(5)], axis=1),
        people=people,
        images=sorted(images, key=lambda image: -image.loss),
    )


def classify(
    found: NDArray[Any],
    joints: NDArray[Any],
    is_labelled: NDArray[np.bool_],
    areas: NDArray[Any],
    sigmas: NDArray[Any],
    mirror: NDArray[Any],
) -> tuple[NDArray[np.int8], float]:
    """The kinds of one person's keypoints, and its OKS.

    The joint whose similarity is highest decides, among the person's own, its mirrored ones, and those of the others
    and theirs mirrored: similar below 0.5 is a miss, else own is good or jitter, own mirrored an inversion, else a
    swap (Section 4.1). At equal similarity the person's own wins.

    Args:
        found: [K, 2].
        joints: [P, K, 2], of the matched person first, then of all others in the image.
        is_labelled: [P, K].
        areas: [P], of the people, pixels squared.
        sigmas: [K].
        mirror: [K], the other side's joint; its own number for the middle.

    Returns:
        int8 [K] of ``KeypointKind``, and the OKS with the first of ``joints`` (1 where it has no labelled joint).
    """
    every = np.concatenate([joints, joints[:, mirror]])
    labelled = np.concatenate([is_labelled, is_labelled[:, mirror]])
    size = np.concatenate([areas, areas])[:, None] + np.spacing(1)
    squared = ((every - found) ** 2).sum(axis=2)
    similarity = np.where(labelled, np.exp(-squared / (2 * sigmas) ** 2 / size / 2), -1.0)
    nearest, best = similarity.argmax(axis=0), similarity.max(axis=0)
    kinds = np.full(len(found), KeypointKind.swap, dtype=np.int8)
    kinds[nearest == len(joints)] = KeypointKind.inversion
    kinds[nearest == 0] = KeypointKind.jitter
    kinds[(nearest == 0) & (best >= GOOD_SIMILARITY)] = KeypointKind.good
    kinds[best < NEAR_SIMILARITY] = KeypointKind.miss
    kinds[~is_labelled[0]] = KeypointKind.unlabelled
    return kinds, float(similarity[0][is_labelled[0]].mean()) if is_labelled[0].any() else 1.0


def _image_errors(
    image_id: int,
    matching: dict[str, Any],
    people: list[dict[str, Any]],
    results: list[dict[str, Any]],
    sigmas: NDArray[Any],
    mirror: NDArray[Any],
) -> ImageErrors:
    keypoints = np.array([person["keypoints"] for person in people], dtype=np.float64)
    keypoints = keypoints.reshape(len(people), len(sigmas), 3)
    areas = np.array([person["area"] for person in people], dtype=np.float64)
    number = {person["id"]: index for index, person in enumerate(people)}
    is_ignored = dict(zip(matching["gtIds"], np.asarray(matching["gtIgnore"]) > 0, strict=True))
    by_result = np.asarray(matching["dtMatches"])
    matched, false_positives = [], []
    for column, result_id in enumerate(matching["dtIds"]):
        entry, match = int(result_id) - 1, int(by_result[0, column])
        if match == 0:
            if not by_result[:, column].any():
                false_positives.append(entry)
        elif not is_ignored[match]:
            person = number[match]
            order = [person, *(other for other in range(len(people)) if other != person)]
            found = np.asarray(results[entry]["keypoints"], dtype=np.float64).reshape(-1, 3)[:, :2]
            kinds, oks = classify(
                found, keypoints[order, :, :2], keypoints[order, :, 2] > 0, areas[order], sigmas, mirror
            )
            matched.append(MatchedPerson(entry, people[person], kinds, oks))
    taken = {person.annotation["id"] for person in matched}
    missing = [person for person in people if not is_ignored[person["id"]] and person["id"] not in taken]
    return ImageErrors(image_id, matched, false_positives, missing)


def _repair(
    images: list[ImageErrors], results: list[dict[str, Any]], kinds: set[KeypointKind]
) -> tuple[list[int], list[dict[str, Any]]]:
    """The ids of the images where keypoints of these kinds are, and all results there with them on their joints."""
    changed = [image for image in images if any(np.isin(person.kinds, list(kinds)).any() for person in image.matched)]
    where = {image.image_id for image in changed}
    entries = {index: result for index, result in enumerate(results) if result["image_id"] in where}
    for image in changed:
        for person in image.matched:
            is_wrong = np.isin(person.kinds, list(kinds))
            points = np.asarray(results[person.result]["keypoints"], dtype=np.float64).reshape(-1, 3).copy()
            joints = np.asarray(person.annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
            points[is_wrong, :2] = joints[is_wrong, :2]
            entries[person.result] = {**results[person.result], "keypoints": points.reshape(-1).tolist()}
    return sorted(where), list(entries.values())


def _score(
    images: dict[Any, dict[str, Any] | None], *, without_positives: bool = False, without_negatives: bool = False
) -> float:
    """AP over COCO's ten thresholds, which stand behind ``MATCHING_OKS``."""
    present = [images[image_id] for image_id in sorted(images)]
    matches = pack(present, [_unmatched(image) for image in present] if without_positives else None)
    if without_negatives:
        missing = [_num_missing(image) for image in present]
        matches = matches._replace(num_people=matches.num_people - np.array(missing, dtype=np.int64))
    if matches.num_people.sum() == 0:  # nobody to find, or nobody any more
        return 1.0 if without_negatives else 0.0
    return average_precision(matches, first=1)


def _unmatched(image: dict[str, Any] | None) -> NDArray[np.bool_]:
    """bool [d]: found people who match nobody at any threshold."""
    return np.zeros(0, dtype=bool) if image is None else np.all(np.asarray(image["dtMatches"]) == 0, axis=0)


def _num_missing(image: dict[str, Any] | None) -> int:
    """Annotated people who are found at no threshold: who is not at the lowest is not at the others."""
    if image is None:
        return 0
    is_missed = (np.asarray(image["gtMatches"])[0] == 0) & (np.asarray(image["gtIgnore"]) == 0)
    return int(np.count_nonzero(is_missed))
