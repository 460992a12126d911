from itertools import permutations

import numpy as np
import pytest

from datamodules.skeleton import COCO, Skeleton
from lightning_modules.ssa.grouping import Candidates, body_first, part_first, part_order, search_paths

THRESHOLD = 0.0025
ORDER = part_order(COCO)
PATHS = search_paths(COCO)


def random_scene(seed: int, *, max_per_type: int = 4, joints: int = 17) -> Candidates:
    generator = np.random.default_rng(seed)
    types = np.repeat(np.arange(joints), generator.integers(0, max_per_type + 1, joints))
    generator.shuffle(types)
    count = len(types)
    affinity = generator.random((count, count)) ** 4 * 0.02
    return Candidates(types, generator.random(count) * 0.9 + 0.05, affinity)


def ideal_scene(seed: int, people: int, *, joints: int = 17) -> tuple[Candidates, np.ndarray]:
    """Everybody attends evenly to the cells of their own person; some joints are not seen. Owner of each candidate."""
    generator = np.random.default_rng(seed)
    owners, types = np.divmod(np.arange(people * joints), joints)
    is_seen = generator.random(len(owners)) < 0.8
    is_seen[::joints] = True
    shuffled = generator.permutation(np.flatnonzero(is_seen))
    owners, types = owners[shuffled], types[shuffled]
    cells = generator.integers(4, 150, people)
    affinity = (owners[:, None] == owners[None]) / cells[owners][:, None]
    return Candidates(types, generator.random(len(owners)) * 0.5 + 0.45, affinity), owners


def attraction(candidates: Candidates, candidate: int, found: list[int]) -> float:
    if not found:
        return 0.0
    return sum(candidates.scores[f] * candidates.affinity[candidate, f] for f in found) / len(found)


def slow_part_first(candidates: Candidates, order: tuple[int, ...], threshold: float, *, scored: bool) -> set[tuple]:
    """The assignment by trying every one; people are dicts from joint to candidate."""
    people: list[dict[int, int]] = []
    for joint in order:
        pool = [c for c, kind in enumerate(candidates.joints) if kind == joint]
        gain = {
            (c, p): attraction(candidates, c, list(person.values())) * (candidates.scores[c] if scored else 1.0)
            for c in pool
            for p, person in enumerate(people)
        }
        slots = [*range(len(people)), *[None] * max(0, len(pool) - len(people))]
        best = max(
            permutations(slots, len(pool)),
            key=lambda choice: sum(gain[c, p] for c, p in zip(pool, choice, strict=True) if p is not None),
        )
        existing = [dict(person) for person in people]
        for c, p in zip(pool, best, strict=True):
            if p is not None and attraction(candidates, c, list(existing[p].values())) >= threshold:
                people[p][joint] = c
            else:
                people.append({joint: c})
    return as_set(people)


def slow_body_first(candidates: Candidates, paths: tuple[tuple[int, ...], ...], threshold: float) -> set[tuple]:
    people: list[dict[int, int]] = []
    queue = sorted(range(len(candidates.scores)), key=lambda c: -candidates.scores[c])
    while True:
        claimed = {c for person in people for c in person.values()}
        free = [c for c in queue if c not in claimed]
        if not free:
            return as_set(people)
        current = {int(candidates.joints[free[0]]): free[0]}
        for joint in paths[candidates.joints[free[0]]]:
            found = list(current.values())
            best, best_value = None, -1.0
            for c in [c for c, kind in enumerate(candidates.joints) if kind == joint]:
                holders = [person for person in people if person.get(joint) == c]
                pull = attraction(candidates, c, found)
                if holders and pull <= attraction(candidates, c, [f for f in holders[0].values() if f != c]):
                    continue
                if candidates.scores[c] * pull > best_value:
                    best, best_value = c, candidates.scores[c] * pull
            if best is None or attraction(candidates, best, found) < threshold:
                continue
            for person in people:
                if person.get(joint) == best:
                    del person[joint]
            current[joint] = best
        people.append(current)


def as_set(people: list[dict[int, int]]) -> set[tuple]:
    return {tuple(sorted((int(j), int(c)) for j, c in person.items())) for person in people if person}


def array_as_set(people: np.ndarray) -> set[tuple]:
    return {tuple((joint, int(c)) for joint, c in enumerate(person) if c >= 0) for person in people}


def scene(joints: list[int], scores: list[float], affinity: list[list[float]]) -> Candidates:
    count = len(joints)
    return Candidates(np.array(joints, dtype=np.int64), np.array(scores), np.array(affinity).reshape(count, count))


@pytest.mark.parametrize("scored", [False, True])
def test_part_first_equals_trying_every_assignment(scored: bool) -> None:
    for seed in range(120):
        candidates = random_scene(seed)
        actual = array_as_set(part_first(candidates, ORDER, threshold=THRESHOLD, scored=scored))
        assert actual == slow_part_first(candidates, ORDER, THRESHOLD, scored=scored), seed


def test_body_first_equals_plain_loops() -> None:
    for seed in range(200):
        candidates = random_scene(seed, max_per_type=6)
        people = body_first(candidates, PATHS, threshold=THRESHOLD)
        assert array_as_set(people) == slow_body_first(candidates, PATHS, THRESHOLD), seed


@pytest.mark.parametrize("people", [1, 2, 7, 30])
def test_ideal_attention_is_grouped_without_error(people: int) -> None:
    for seed in range(10):
        candidates, owners = ideal_scene(seed, people)
        for found in (
            part_first(candidates, ORDER, threshold=THRESHOLD),
            part_first(candidates, ORDER, threshold=THRESHOLD, scored=True),
            body_first(candidates, PATHS, threshold=THRESHOLD),
        ):
            assert len(found) == people
            assert sorted(found[found >= 0]) == list(range(len(owners)))
            assert all(len({owners[c] for c in person if c >= 0}) == 1 for person in found)


def test_every_candidate_belongs_to_one_person_and_has_its_own_type() -> None:
    for seed in range(30):
        candidates = random_scene(seed, max_per_type=6)
        for people in (part_first(candidates, ORDER, threshold=0.005), body_first(candidates, PATHS, threshold=0.005)):
            assert sorted(people[people >= 0]) == list(range(len(candidates.scores)))
            _, joints = np.nonzero(people >= 0)
            assert np.array_equal(candidates.joints[people[people >= 0]], joints)


def test_nothing_found() -> None:
    nothing = scene([], [], [])
    assert part_first(nothing, ORDER, threshold=THRESHOLD).shape == (0, 17)
    assert body_first(nothing, PATHS, threshold=THRESHOLD).shape == (0, 17)


def test_one_candidate_is_a_person() -> None:
    one = scene([9], [0.3], [[1.0]])
    for people in (part_first(one, ORDER, threshold=THRESHOLD), body_first(one, PATHS, threshold=THRESHOLD)):
        assert array_as_set(people) == {((9, 0),)}


def test_row_is_the_candidate_and_column_what_was_found() -> None:
    wrist_attends_nose = scene([0, 9], [0.9, 0.8], [[0, 0], [0.01, 0]])
    nose_attends_wrist = scene([0, 9], [0.9, 0.8], [[0, 0.01], [0, 0]])
    assert len(part_first(wrist_attends_nose, ORDER, threshold=THRESHOLD)) == 1
    assert len(part_first(nose_attends_wrist, ORDER, threshold=THRESHOLD)) == 2


def test_threshold_is_on_the_attraction_weighted_by_the_found_score() -> None:
    for found_score, expected in ((0.26, 1), (0.24, 2)):
        candidates = scene([0, 9], [found_score, 0.01], [[0, 0], [0.01, 0]])
        assert len(part_first(candidates, ORDER, threshold=THRESHOLD)) == expected
    below = scene([0, 9], [0.9, 0.8], [[0, 0], [0.0026, 0]])
    assert len(body_first(below, PATHS, threshold=THRESHOLD)) == 2


def test_score_decides_between_equally_attracted_candidates_where_it_counts() -> None:
    candidates = scene([0, 9, 9], [0.9, 0.1, 0.8], [[0] * 3, [0.011, 0, 0], [0.010, 0, 0]])
    assert array_as_set(part_first(candidates, ORDER, threshold=THRESHOLD)) == {((0, 0), (9, 1)), ((9, 2),)}
    expected = {((0, 0), (9, 2)), ((9, 1),)}
    assert array_as_set(part_first(candidates, ORDER, threshold=THRESHOLD, scored=True)) == expected
    assert array_as_set(body_first(candidates, PATHS, threshold=THRESHOLD)) == expected


def test_robbed_joint_goes_to_the_stronger_person_and_leaves_an_empty_slot() -> None:
    # Noses 0 and 1; the only left eye (2) comes to nose 0 first, but attends to nose 1 more.
    candidates = scene([0, 0, 1], [0.9, 0.8, 0.7], [[0] * 3, [0] * 3, [0.01, 0.02, 0.9]])
    assert array_as_set(body_first(candidates, PATHS, threshold=THRESHOLD)) == {((0, 0),), ((0, 1), (1, 2))}


def test_robbery_compares_with_the_owner_without_the_joint_itself() -> None:
    # The eye's attention to itself (0.9) must not defend it: without it nose 0 attracts less than nose 1.
    candidates = scene([0, 0, 1], [0.9, 0.8, 0.7], [[0] * 3, [0] * 3, [0.010, 0.012, 0.9]])
    assert ((0, 1), (1, 2)) in array_as_set(body_first(candidates, PATHS, threshold=THRESHOLD))


def test_person_robbed_of_everything_is_dropped() -> None:
    # The eye seeds alone (nothing attends to it); the nose that follows takes it.
    candidates = scene([1, 0], [0.9, 0.8], [[0, 0.01], [0, 0]])
    assert array_as_set(body_first(candidates, PATHS, threshold=THRESHOLD)) == {((0, 1), (1, 0))}


def test_part_order_and_search_paths() -> None:
    assert ORDER[:3] == (0, 1, 2)
    assert [COCO.joints[i] for i in ORDER[5:9]] == ["left_shoulder", "right_shoulder", "left_hip", "right_hip"]
    assert sorted(ORDER) == list(range(17))
    assert PATHS[0][:4] == (1, 2, 3, 4)
    assert PATHS[9][:3] == (7, 5, 3)
    assert all(sorted((start, *path)) == list(range(17)) for start, path in enumerate(PATHS))


def test_another_skeleton_uses_its_own_limbs() -> None:
    skeleton = Skeleton("toy", ("root", "tip", "middle", "alone"), (("root", "middle"), ("middle", "tip")), (0.1,) * 4)
    assert search_paths(skeleton)[0] == (2, 1, 3)
    assert part_order(skeleton) == (0, 1, 2, 3)
