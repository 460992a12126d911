"""SSA's grouping against plain loops.      python -m experiments.benchmarks.ssa_grouping

Scenes of 1 to 50 people, each with 17 joints and a share of false candidates, attention sharply peaked on one's own
person but not perfect. Both forms see the same scenes and give the same people. Grouping only, without the network, on
one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment

from datamodules.skeleton import COCO
from experiments.benchmarks.measuring import Line, Run, Setting
from lightning_modules.ssa.grouping import Candidates, body_first, part_first, part_order, search_paths

THRESHOLD = 0.0025
PEOPLE = (1, 5, 10, 20, 30, 50)
NOTE = "naive: sums made one by one; limit: every candidate attracted by all others, one product"
WITHOUT = {"peer": "no public implementation"}
PUBLISHED = "The paper's whole pipeline on a V100 and a Xeon Gold 6130: part-first 8.45, body-first 8.94 images/s."


def scene(people: int, seed: int = 0, *, false_candidates: float = 0.2) -> Candidates:
    """Candidates of ``people`` full skeletons and false ones of low score."""
    generator = np.random.default_rng(seed)
    true = people * COCO.num_keypoints
    count = true + int(false_candidates * true)
    owners = np.concatenate([np.repeat(np.arange(people), COCO.num_keypoints), np.full(count - true, -1)])
    joints = np.concatenate([np.tile(np.arange(17), people), generator.integers(0, 17, count - true)])
    scores = np.where(owners >= 0, generator.uniform(0.4, 1.0, count), generator.uniform(0.003, 0.1, count))
    same = (owners[:, None] == owners[None]) & (owners[:, None] >= 0)
    affinity = np.where(same, 0.01, 0.0004) * generator.uniform(0.3, 1.7, (count, count))
    return Candidates(joints, scores, affinity)


def attraction(candidates: Candidates, candidate: int, found: list[int]) -> float:
    if not found:
        return 0.0
    return sum(candidates.scores[f] * candidates.affinity[candidate, f] for f in found) / len(found)


def plain_part_first(candidates: Candidates, order: tuple[int, ...]) -> list[dict[int, int]]:
    """The Hungarian method on attractions that are summed one by one."""
    people: list[dict[int, int]] = []
    for joint in order:
        pool = [c for c in range(len(candidates.scores)) if candidates.joints[c] == joint]
        table = np.zeros((len(pool), len(people)))
        for row, c in enumerate(pool):
            for column, person in enumerate(people):
                table[row, column] = attraction(candidates, c, list(person.values()))
        rows, columns = linear_sum_assignment(table, maximize=True)
        seeds = set(pool)
        for row, column in zip(rows, columns, strict=True):
            if table[row, column] >= THRESHOLD:
                people[column][joint] = pool[row]
                seeds.discard(pool[row])
        people += [{joint: c} for c in sorted(seeds)]
    return people


def plain_body_first(candidates: Candidates, paths: tuple[tuple[int, ...], ...]) -> list[dict[int, int]]:
    """Candidate by candidate, each attraction summed anew."""
    people: list[dict[int, int]] = []
    holder: dict[int, dict[int, int]] = {}
    for seed in sorted(range(len(candidates.scores)), key=lambda c: -candidates.scores[c]):
        if seed in holder:
            continue
        person = {int(candidates.joints[seed]): seed}
        holder[seed] = person
        for joint in paths[candidates.joints[seed]]:
            found = list(person.values())
            best, best_pull, best_value = -1, 0.0, -1.0
            for c in range(len(candidates.scores)):
                if candidates.joints[c] != joint:
                    continue
                pull = attraction(candidates, c, found)
                if c in holder and pull <= attraction(candidates, c, [f for f in holder[c].values() if f != c]):
                    continue
                if candidates.scores[c] * pull > best_value:
                    best, best_pull, best_value = c, pull, candidates.scores[c] * pull
            if best >= 0 and best_pull >= THRESHOLD:
                if best in holder:
                    del holder[best][joint]
                person[joint], holder[best] = best, person
        people.append(person)
    return [person for person in people if person]


def as_set(people: np.ndarray | list[dict[int, int]]) -> set[tuple[tuple[int, int], ...]]:
    if isinstance(people, np.ndarray):
        people = [{j: int(c) for j, c in enumerate(person) if c >= 0} for person in people]
    return {tuple(sorted((int(j), int(c)) for j, c in person.items())) for person in people}


def seconds(run: Callable[[], object], *, at_least: float = 0.5, repeats: int = 200) -> float:
    """Median CPU time of a call, on one core: other load on the machine does not count."""
    times: list[float] = []
    while not times or (sum(times) < at_least and len(times) < repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return float(np.median(times))


def lines(setting: Setting) -> list[Line]:
    """Both groupings of crowds; on the host whatever the device."""
    order, paths, found = part_order(COCO), search_paths(COCO), []
    host = setting._replace(device="cpu")
    for people in (5, 10, 30) if setting.full else (10,):
        candidates = scene(people)
        forms: dict[str, tuple[Callable[..., object], Callable[..., object], object]] = {
            "part-first": (part_first, plain_part_first, order),
            "body-first": (body_first, plain_body_first, paths),
        }
        for name, (fast, plain, route) in forms.items():
            runs: dict[str, Run] = {
                "ours": partial(fast, candidates, route, threshold=THRESHOLD),
                "loops": partial(plain, candidates, route),
                "limit": partial(np.matmul, candidates.scores, candidates.affinity),
            }
            times = host.race(runs)
            label, columns = (
                f"SSA {name} grouping, {people} people",
                (times["ours"], times["loops"], None, times["limit"]),
            )
            found.append(Line(label, *columns, asked=3.0, note=NOTE, without=WITHOUT))
    return found


def main() -> None:
    order, paths = part_order(COCO), search_paths(COCO)
    forms: dict[str, tuple[Callable, Callable]] = {
        "part-first": (
            lambda c: part_first(c, order, threshold=THRESHOLD),
            lambda c: plain_part_first(c, order),
        ),
        "body-first": (
            lambda c: body_first(c, paths, threshold=THRESHOLD),
            lambda c: plain_body_first(c, paths),
        ),
    }
    print(f"{'people':>6} {'candidates':>10} {'grouping':>11} {'images/s':>9} {'plain loops':>11} {'ratio':>7}")
    for people in PEOPLE:
        candidates = scene(people)
        for name, (ours, plain) in forms.items():
            if as_set(ours(candidates)) != as_set(plain(candidates)):
                raise AssertionError(f"{name}: the two forms group {people} people differently")
            fast, slow = seconds(partial(ours, candidates)), seconds(partial(plain, candidates))
            counts = f"{people:6d} {len(candidates.scores):10d}"
            print(f"{counts} {name:>11} {1 / fast:9.0f} {1 / slow:11.1f} {slow / fast:6.1f}x")
    print(PUBLISHED)


if __name__ == "__main__":
    main()
