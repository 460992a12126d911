import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.openpose_ssal.assembly import assemble
from lightning_modules.openpose_ssal.candidates import Candidates
from lightning_modules.openpose_ssal.config import DecodeConfig
from lightning_modules.openpose_ssal.matching import greedy_matching
from lightning_modules.openpose_ssal.parts import parts_of
from tests.lightning_modules.openpose_ssal.test_parts import FOREST

CONFIG = DecodeConfig(max_persons=200)


def reference(points, peaks, partner, scores, parts, config):
    """OpenPose's assembly, one connection after another, on lists of people -> (score, {part: candidate}) sorted."""
    people = []

    def owner(part, candidate):
        return next((person for person in people if person["parts"].get(part) == candidate), None)

    for limb in (*parts.tree, *parts.closing):
        start, end = parts.limbs[limb]
        for a in range(points.shape[1]):
            b = int(partner[limb, a])
            if b < 0:
                continue
            score = scores[limb, a, b].item()
            first, second = owner(start, a), owner(end, b)
            if limb in parts.tree:
                assert second is None
                if first is None:
                    first = {"parts": {start: a}, "limbs": 0.0}
                    people.append(first)
                first["parts"][end] = b
                first["limbs"] += score
            elif first is not None and second is not None and first is not second:
                if not first["parts"].keys() & second["parts"].keys():
                    first["parts"] |= second["parts"]
                    first["limbs"] += second["limbs"] + score
                    people.remove(second)
            elif first is not None and second is None and end not in first["parts"]:
                first["parts"][end] = b
                first["limbs"] += score
    kept = []
    for person in people:
        count = len(person["parts"])
        total = person["limbs"] + sum(peaks[part, c].item() for part, c in person["parts"].items())
        if count >= config.min_parts and total / count >= config.min_mean_score:
            kept.append((total * count, person["parts"]))
    return sorted(kept, key=lambda entry: -entry[0])


def random_scene(seed, parts, batch=3, candidates=6, refused=0.85):
    generator = torch.Generator().manual_seed(seed)
    count = len(parts.names)
    peaks = torch.rand(batch, count, candidates, generator=generator)
    points = torch.rand(batch, count, candidates, 2, generator=generator)
    scores = torch.rand(batch, len(parts.limbs), candidates, candidates, generator=generator)
    scores[torch.rand(scores.shape, generator=generator) < refused] = -torch.inf
    return Candidates(points, peaks, torch.ones_like(peaks, dtype=torch.bool)), scores


@pytest.mark.parametrize("skeleton", [COCO, FOREST], ids=["coco", "forest"])
@pytest.mark.parametrize("refused", [0.7, 0.9, 0.97])
def test_random_scenes_against_one_connection_after_another(skeleton, refused):
    parts, people = parts_of(skeleton), 0
    for seed in range(20):
        candidates, scores = random_scene(seed, parts, refused=refused)
        partner = greedy_matching(scores)
        found = assemble(candidates, partner, scores, parts, CONFIG)
        for b in range(3):
            expected = reference(candidates.points[b], candidates.scores[b], partner[b], scores[b], parts, CONFIG)
            people += len(expected)
            assert found.is_real[b].sum() == len(expected)
            for q, (score, members) in enumerate(expected):
                assert found.scores[b, q].item() == pytest.approx(score, rel=1e-4)
                assert set((found.part_scores[b, q] > 0).nonzero()[:, 0].tolist()) == members.keys()
                for part, candidate in members.items():
                    assert found.points[b, q, part].equal(candidates.points[b, part, candidate])
    assert people > 10


def test_closing_limbs_join_people_but_never_create_one():
    parts = parts_of(COCO)
    points = torch.arange(18.0)[:, None, None].expand(18, 1, 2)[None]
    candidates = Candidates(points, torch.ones(1, 18, 1), torch.ones(1, 18, 1, dtype=torch.bool))

    def people(*limbs):
        scores = torch.full((1, 19, 1, 1), -torch.inf)
        for limb in limbs:
            scores[0, parts.limbs.index(limb)] = 1.0
        return assemble(candidates, greedy_matching(scores), scores, parts, CONFIG)

    arm, head = [(2, 3), (3, 4)], [(0, 14), (14, 16)]
    assert people((2, 16), (5, 17)).is_real.sum() == 0
    assert people(*arm, *head).is_real.sum() == 2
    joined = people(*arm, *head, (2, 16))
    assert joined.is_real.sum() == 1
    assert joined.scores[0, 0] == (6 + 5) * 6
    attached = people(*arm, (2, 16))
    assert (attached.part_scores[0, 0] > 0).nonzero()[:, 0].tolist() == [2, 3, 4, 16]


def test_small_and_weak_people_are_dropped_and_the_best_are_kept():
    parts = parts_of(COCO)
    candidates, scores = random_scene(0, parts, batch=1, refused=0.9)
    partner = greedy_matching(scores)
    everyone = assemble(candidates, partner, scores, parts, CONFIG)
    few = assemble(candidates, partner, scores, parts, DecodeConfig(max_persons=2))
    assert everyone.is_real.sum() > 2
    assert few.scores[0].tolist() == everyone.scores[0, :2].tolist()
    strict = assemble(candidates, partner, scores, parts, DecodeConfig(min_parts=7, max_persons=200))
    assert ((strict.part_scores[strict.is_real] > 0).sum(-1) >= 7).all()
    assert strict.is_real.sum() < everyone.is_real.sum()
    assert assemble(candidates, partner, scores, parts, DecodeConfig(min_mean_score=9)).is_real.sum() == 0


def test_without_candidates_nobody():
    parts = parts_of(COCO)
    empty = Candidates(torch.zeros(2, 18, 0, 2), torch.zeros(2, 18, 0), torch.zeros(2, 18, 0, dtype=torch.bool))
    scores = torch.zeros(2, 19, 0, 0)
    people = assemble(empty, greedy_matching(scores), scores, parts, CONFIG)
    assert people.points.shape == (2, 0, 18, 2)
    assert people.is_real.shape == (2, 0)
