import numpy as np
import pytest

from lightning_modules.ssa.instances import Instances, merge_overlapping, person_maps, person_scores


def random_people(seed: int, *, joints: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates of a few places in a strip of 40 cells, scattered over more people than there are."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 9))
    people = np.full((count, joints), -1)
    places = []
    for person in range(count):
        for joint in np.flatnonzero(generator.random(joints) < 0.6):
            people[person, joint] = len(places)
            places.append(generator.integers(0, 4) * 10 + generator.normal(0, 3))
    centers = np.array(places).reshape(-1, 1)
    rows = np.exp(-(((np.arange(40)[None] - centers) / 4) ** 2)).astype(np.float32)
    return people[(people >= 0).any(1)], generator.random(len(places)), rows / rows.sum(1, keepdims=True)


def reference(people: np.ndarray, scores: np.ndarray, rows: np.ndarray, threshold: float, overlap: float) -> set[tuple]:
    """Unite the first overlapping pair of the list, and again."""
    total = [sum(scores[c] for c in person if c >= 0) for person in people]
    found = [list(people[i]) for i in sorted(range(len(people)), key=lambda i: -total[i])]

    def mask(person: list[int]) -> set[int]:
        mean = np.mean([rows[c] for c in person if c >= 0], axis=0)
        return set(np.flatnonzero(mean / mean.max() > threshold))

    def meet() -> tuple[int, int] | None:
        masks = [mask(person) for person in found]
        for i in range(len(found)):
            for j in range(i + 1, len(found)):
                if len(masks[i] & masks[j]) / max(len(masks[i]), len(masks[j])) > overlap:
                    return i, j
        return None

    while (pair := meet()) is not None:
        other = found.pop(pair[1])
        person = found[pair[0]]
        for joint, c in enumerate(other):
            if c >= 0 and (person[joint] < 0 or scores[c] > scores[person[joint]]):
                person[joint] = c
    return {tuple(int(c) for c in person) for person in found}


def merged(people: np.ndarray, scores: np.ndarray, rows: np.ndarray, overlap: float = 0.3) -> Instances:
    return merge_overlapping(people, scores, rows, mask_threshold=0.4, overlap=overlap)


def test_merging_equals_the_plain_form() -> None:
    shrunk = 0
    for seed in range(200):
        people, scores, rows = random_people(seed)
        result = merged(people, scores, rows)
        assert {tuple(person) for person in result.people.tolist()} == reference(people, scores, rows, 0.4, 0.3), seed
        assert np.all(np.diff(result.scores) <= 0)
        np.testing.assert_allclose(result.attention, person_maps(result.people, rows))
        shrunk += len(result.people) < len(people)
    assert shrunk > 100


def test_merging_twice_changes_nothing() -> None:
    people, scores, rows = random_people(3)
    once = merged(people, scores, rows)
    assert np.array_equal(merged(once.people, scores, rows).people, once.people)


def test_parts_of_one_person_are_united_joint_by_joint() -> None:
    rows = np.tile(np.array([0, 0.5, 0.5, 0, 0], dtype=np.float32), (4, 1))
    rows[3] = [1, 0, 0, 0, 0]
    people = np.array([[0, -1, -1], [-1, 1, -1], [2, -1, -1], [-1, -1, 3]])
    scores = np.array([0.5, 0.6, 0.9, 0.1])
    result = merged(people, scores, rows)
    assert result.people.tolist() == [[2, 1, -1], [-1, -1, 3]]
    np.testing.assert_allclose(result.scores, [(0.9 + 0.6) / 3, 0.1 / 3])
    np.testing.assert_array_equal(result.attention[0], [0, 1, 1, 0, 0])


def test_overlap_is_measured_against_the_larger_mask() -> None:
    rows = np.array([[0.1] * 10, [1.0] + [0.0] * 9], dtype=np.float32)  # the small one lies inside: 1 of 10 cells
    people, scores = np.array([[0, -1], [-1, 1]]), np.array([0.9, 0.8])
    assert len(merged(people, scores, rows).people) == 2
    assert len(merged(people, scores, rows, overlap=0.05).people) == 1


def test_overlap_of_one_keeps_everybody() -> None:
    people, scores, rows = random_people(5)
    assert len(merged(people, scores, rows, overlap=1.0).people) == len(people)


@pytest.mark.parametrize("candidates", [0, 3])
def test_nobody(candidates: int) -> None:
    result = merged(np.full((0, 4), -1), np.ones(candidates), np.ones((candidates, 6), dtype=np.float32))
    assert result.people.shape == (0, 4)
    assert result.attention.shape == (0, 6)
    assert person_scores(np.full((0, 4), -1), np.ones(candidates)).shape == (0,)
