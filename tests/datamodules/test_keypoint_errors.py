"""Errors are put in and must come out: as what they are, and with what they cost."""

import math

import numpy as np
import pytest

from datamodules.evaluator import CocoKeypointEvaluator
from datamodules.keypoint_errors import KINDS, KeypointKind, classify, diagnose
from datamodules.skeleton import COCO

SIZE = 200.0
SIGMAS, MIRROR = np.array(COCO.sigmas), np.array(COCO.flip_permutation)
LIMBS = [5, 7, 8, 9, 14, 15]


def distance(similarity, joint):
    """Pixels off a joint of a person of area SIZE² at which its keypoint similarity is this."""
    return SIZE * 2 * COCO.sigmas[joint] * math.sqrt(-2 * math.log(similarity))


def inject(kind, results):
    """``results`` of exact people, three to an image, with errors of one kind."""
    results = [dict(entry) for entry in results]
    if kind == "false_positive":
        ghosts = [{**entry, "score": 5 + entry["score"]} for entry in results[::2]]
        for ghost in ghosts:
            ghost["keypoints"] = (np.array(ghost["keypoints"]) + 9000).tolist()
        return results + ghosts
    if kind == "false_negative":
        return [entry for index, entry in enumerate(results) if index % 3]
    exact = {(entry["image_id"], index % 3): entry for index, entry in enumerate(results)}
    for index, entry in enumerate(results):
        points = np.array(entry["keypoints"]).reshape(-1, 3)
        if kind == "jitter":
            points[:, 0] += [distance(0.65, joint) for joint in range(17)]
        elif kind == "inversion":
            points[LIMBS] = points[MIRROR[LIMBS]]
        elif kind == "swap":
            other = np.array(exact[entry["image_id"], (index + 1) % 3]["keypoints"]).reshape(-1, 3)
            points[LIMBS] = other[LIMBS]
        elif kind == "miss":
            points[LIMBS, 1] += 5000
        entry["keypoints"] = points.reshape(-1).tolist()
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_of_error_is_given_the_loss(kind, people_file, exact):
    file, content = people_file()
    evaluator = CocoKeypointEvaluator(file)
    results = inject(kind, exact(content))
    found = diagnose(evaluator, results)
    assert found.ap == pytest.approx(evaluator.score(results)["AP"], abs=1e-12)
    assert found.ap < 0.95
    assert found.shares[kind] >= 0.95
    assert found.gains[kind] >= 0.95 * (1 - found.ap)
    assert found.ap_repaired == pytest.approx(1.0)
    if kind in KeypointKind.__members__:
        expected = np.zeros((17, 5), dtype=int)
        wrong = list(range(17)) if kind == "jitter" else LIMBS
        expected[:, KeypointKind.good] = 15
        expected[wrong, KeypointKind.good] = 0
        expected[wrong, KeypointKind[kind]] = 15
        assert found.keypoints.tolist() == expected.tolist()
        assert found.people == {"annotated": 15, "matched": 15, "false_positive": 0, "false_negative": 0}
    else:
        assert found.people[kind] == (8 if kind == "false_positive" else 5)


def test_exact_people_have_no_errors_and_nobody_is_all_missing(people_file, exact):
    file, content = people_file()
    evaluator = CocoKeypointEvaluator(file)
    perfect = diagnose(evaluator, exact(content))
    assert perfect.ap == perfect.ap_repaired == pytest.approx(1.0)
    assert not any(perfect.gains.values())
    assert not any(perfect.shares.values())
    assert perfect.keypoints[:, KeypointKind.good].tolist() == [15] * 17
    assert {image.loss for image in perfect.images} == {0.0}
    nothing = diagnose(evaluator, [])
    assert nothing.ap == 0
    assert nothing.people["false_negative"] == 15
    assert nothing.gains["false_negative"] == nothing.shares["false_negative"] == 1.0


def test_people_found_where_nobody_is_are_false_positives(people_file, exact):
    file, content = people_file()
    results = exact(content)
    assert 2 not in {entry["image_id"] for entry in results}
    found = diagnose(CocoKeypointEvaluator(file), [*results, {**results[0], "image_id": 2}])
    empty = next(image for image in found.images if image.image_id == 2)
    assert (len(empty.false_positives), len(empty.false_negatives)) == (1, 0)
    assert found.people["false_positive"] == 1


def test_images_come_worst_first(people_file, exact):
    file, content = people_file()
    results = exact(content)
    for entry in results:
        if entry["image_id"] == 4:
            entry["keypoints"] = (np.array(entry["keypoints"]) + 9000).tolist()
    worst = diagnose(CocoKeypointEvaluator(file), results).images[0]
    assert (worst.image_id, worst.loss, len(worst.false_positives), len(worst.false_negatives)) == (4, 3.0, 3, 3)


def test_kinds_by_the_published_thresholds():
    """Two people of one size side by side; one keypoint at a time is moved."""
    joints = np.zeros((2, 17, 2))
    joints[:, :, 1] = 1000.0 * np.arange(17)
    joints[0, :, 0] = [{"left": 0.0, "right": 400.0, "middle": 200.0}[COCO.side(k)] for k in range(17)]
    joints[1, :, 0] = joints[0, :, 0] + 2000
    labelled = np.ones((2, 17), dtype=bool)
    labelled[0, 16] = False
    areas = np.array([SIZE**2, SIZE**2])

    def kind_of(joint, place):
        found = joints[0].copy()
        found[joint] = place
        kinds, oks = classify(found, joints, labelled, areas, SIGMAS, MIRROR)
        assert (np.delete(kinds, [joint, 16]) == KeypointKind.good).all()
        assert kinds[16] == KeypointKind.unlabelled
        assert oks >= 15 / 16
        return KeypointKind(kinds[joint]).name

    wrist = joints[0, 9]
    for similarity, name in ((0.86, "good"), (0.84, "jitter"), (0.51, "jitter"), (0.49, "miss")):
        assert kind_of(9, wrist + np.array([distance(similarity, 9), 0])) == name
    assert kind_of(9, joints[0, 10]) == "inversion"
    assert kind_of(9, joints[0, 10] + np.array([distance(0.51, 10), 0])) == "inversion"
    assert kind_of(9, joints[1, 9]) == "swap"
    assert kind_of(9, joints[1, 10]) == "swap"  # of either side
    assert kind_of(9, joints[0, 11]) == "miss"  # another joint altogether is none of these
    assert kind_of(0, joints[0, 0]) == "good"  # the nose is its own mirror image
    labelled[0, 10] = False
    joints[0, 10, 0] = 5000
    found = joints[0].copy()
    found[9] = joints[0, 10]
    assert classify(found, joints, labelled, areas, SIGMAS, MIRROR)[0][9] == KeypointKind.miss
