import pytest
import torch

from lightning_modules.openpose_ssal.candidates import Candidates, Grid, find_peaks, frame_candidates, vote


def loop_peaks(heatmap, threshold):
    height, width = heatmap.shape
    found = []
    for i in range(height):
        for j in range(width):
            value = heatmap[i, j].item()
            around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            inside = [heatmap[r, c].item() for r, c in around if 0 <= r < height and 0 <= c < width]
            if value > threshold and all(value > other for other in inside):
                found.append((value, i * width + j))
    return sorted(found, reverse=True)


def test_peaks_against_a_loop():
    maps = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    cells, values, is_real = find_peaks(maps, 0.5, 64)
    for b in range(2):
        for n in range(3):
            expected = loop_peaks(maps[b, n], 0.5)
            assert cells[b, n][is_real[b, n]].tolist() == [cell for _, cell in expected]
            assert values[b, n][is_real[b, n]].tolist() == pytest.approx([value for value, _ in expected])


def test_plateau_counts_once_and_the_limit_keeps_the_best():
    maps = torch.zeros(1, 1, 6, 6)
    maps[0, 0, 1:3, 1:3] = 0.5
    maps[0, 0, 4, 4] = 0.9
    assert find_peaks(maps, 0.1, 9)[0].tolist() == [[[4 * 6 + 4, 6 + 1]]]
    assert find_peaks(maps, 0.1, 1)[0].tolist() == [[[4 * 6 + 4]]]


def test_nothing_above_the_threshold_gives_no_candidate():
    found = frame_candidates(torch.zeros(2, 3, 5, 5), 0.1, 8)
    assert found.points.shape == (2, 3, 0, 2)


def single(point, heat_at, offset, size=8.0):
    """A candidate at ``point`` and a grid whose cell under it holds a value and an offset."""
    candidates = Candidates(torch.tensor(point).view(1, 1, 1, 2), torch.ones(1, 1, 1), torch.ones(1, 1, 1).bool())
    grid = Grid(
        torch.full((1, 1, 4, 4), heat_at),
        torch.tensor(offset).view(1, 1, 2, 1, 1).expand(1, 1, 2, 4, 4),
        torch.tensor([size]),
    )
    return candidates, grid


def test_votes_are_weighted_by_heat_and_lie_in_the_frame():
    candidates, fine = single([13.0, 20.0], 0.9, [0.25, -0.25])  # cell (1, 2): centre (12, 20), vote (14, 18)
    _, coarse = single([13.0, 20.0], 0.3, [-0.25, 0.125], size=16.0)  # cell (0, 1): centre (8, 24), vote (4, 26)
    moved = vote(candidates, [fine, coarse], 0.1).points.flatten()
    assert moved.tolist() == pytest.approx([(0.9 * 14 + 0.3 * 4) / 1.2, (0.9 * 18 + 0.3 * 26) / 1.2])


@pytest.mark.parametrize(("heat", "offset"), [(0.05, [0.5, 0.5]), (0.9, [1.2, 0.0])], ids=["cold", "far"])
def test_cold_and_far_votes_are_dropped_and_the_candidate_stays(heat, offset):
    candidates, grid = single([13.0, 20.0], heat, offset)
    assert vote(candidates, [grid], 0.1).points.flatten().tolist() == [13.0, 20.0]
    _, good = single([13.0, 20.0], 0.5, [0.0, 0.0])
    assert vote(candidates, [grid, good], 0.1).points.flatten().tolist() == [12.0, 20.0]
