import math

import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.openpose_ssal.candidates import Candidates
from lightning_modules.openpose_ssal.config import DecodeConfig
from lightning_modules.openpose_ssal.matching import greedy_matching, limb_scores
from lightning_modules.openpose_ssal.parts import parts_of

PARTS = parts_of(COCO)


def loop_matching(scores):
    """One pair after another, the best first."""
    pairs = [(-scores[r, c].item(), r, c) for r in range(scores.shape[0]) for c in range(scores.shape[1])]
    partner, columns = [-1] * scores.shape[0], set()
    for negative, row, column in sorted(pairs):
        if negative < math.inf and partner[row] < 0 and column not in columns:
            partner[row] = column
            columns.add(column)
    return partner


@pytest.mark.parametrize("levels", [None, 3], ids=["distinct", "tied"])
@pytest.mark.parametrize("refused", [0.0, 0.6])
def test_matching_equals_one_pair_after_another(levels, refused):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(40, 2, 5, 7, generator=generator)
    if levels:
        scores = (scores * levels).round()
    scores[torch.rand(scores.shape, generator=generator) < refused] = -torch.inf
    found = greedy_matching(scores)
    for i in range(40):
        for j in range(2):
            assert found[i, j].tolist() == loop_matching(scores[i, j])


def test_matching_without_candidates():
    assert greedy_matching(torch.zeros(2, 19, 0, 0)).shape == (2, 19, 0)


def bilinear(field, x, y):
    """Value of field [2, h, w] at a point in cells, by hand."""
    height, width = field.shape[-2:]
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    j, i = min(int(x), width - 2), min(int(y), height - 2)
    u, v = x - j, y - i
    return (
        (1 - v) * ((1 - u) * field[:, i, j] + u * field[:, i, j + 1])
        + v * ((1 - u) * field[:, i + 1, j] + u * field[:, i + 1, j + 1])
    ).tolist()


def test_scores_against_a_loop():
    generator = torch.Generator().manual_seed(1)
    config = DecodeConfig()
    points = torch.rand(2, 18, 4, 2, generator=generator) * torch.tensor([96.0, 64.0])
    is_real = torch.rand(2, 18, 4, generator=generator) < 0.8
    candidates = Candidates(points, torch.ones(2, 18, 4), is_real)
    # Fields that point roughly along +x, so that some pairs pass and some do not.
    fields = torch.randn(2, 19, 2, 8, 12, generator=generator) * 0.3 + torch.tensor([0.5, 0.2]).view(2, 1, 1)
    cell, height = torch.tensor([8.0, 8.0]), torch.tensor([64.0, 40.0])
    found = limb_scores(candidates, fields, cell, height, PARTS, config)
    accepted = 0
    for b in range(2):
        for limb, (start, end) in enumerate(PARTS.limbs):
            for i in range(4):
                for j in range(4):
                    (ax, ay), (bx, by) = points[b, start, i].tolist(), points[b, end, j].tolist()
                    length = math.hypot(bx - ax, by - ay)
                    along = []
                    for k in range(10):
                        t = k / 9
                        vx, vy = bilinear(fields[b, limb], (ax + t * (bx - ax)) / 8, (ay + t * (by - ay)) / 8)
                        along.append((vx * (bx - ax) + vy * (by - ay)) / length)
                    score = sum(along) / 10 + min(0.5 * height[b].item() / length - 1, 0)
                    good = sum(value > 0.05 for value in along) > 8 and score > 0
                    if good and is_real[b, start, i] and is_real[b, end, j]:
                        accepted += 1
                        assert found[b, limb, i, j].item() == pytest.approx(score, abs=1e-4)
                    else:
                        assert found[b, limb, i, j] == -torch.inf
    assert 50 < accepted < 500
