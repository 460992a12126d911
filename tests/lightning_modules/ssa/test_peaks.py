import pytest
import torch
from torch.nn import functional as F

from lightning_modules.ssa.peaks import find_peaks, window_maximum


def test_equals_a_loop_over_cells() -> None:
    torch.manual_seed(0)
    heatmaps = torch.rand(2, 3, 15, 19) - 0.5
    peaks = find_peaks(heatmaps, window=7, threshold=0.3, max_candidates=30)
    for image in range(2):
        for joint in range(3):
            expected = {}
            for row in range(15):
                for column in range(19):
                    window = heatmaps[image, joint, max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
                    value = heatmaps[image, joint, row, column]
                    if value > 0.3 and value == window.max():
                        expected[column, row] = value.item()
            found = peaks.scores[image, joint] > 0
            cells = [tuple(cell) for cell in peaks.cells[image, joint][found].tolist()]
            assert dict(zip(cells, peaks.scores[image, joint][found].tolist(), strict=True)) == expected
    assert (peaks.scores.diff(dim=2) <= 0).all()


@pytest.mark.parametrize("window", [1, 3, 5, 7, 9, 11])
@pytest.mark.parametrize("hw", [(1, 1), (2, 9), (13, 4)])
def test_window_maximum_is_max_pooling(window: int, hw: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *hw, generator=torch.Generator().manual_seed(window))
    maps[0, 0, 0] = -torch.inf
    assert torch.equal(window_maximum(maps, window), F.max_pool2d(maps, window, 1, window // 2))


def test_point_moves_a_quarter_cell_towards_the_larger_neighbour() -> None:
    heatmap = torch.zeros(1, 1, 9, 9)
    heatmap[0, 0, 4, 5], heatmap[0, 0, 4, 6], heatmap[0, 0, 3, 5] = 1.0, 0.5, 0.1
    peaks = find_peaks(heatmap, window=7, threshold=0.0025, max_candidates=2)
    assert peaks.points[0, 0, 0].tolist() == [(5.5 + 0.25) * 4, (4.5 - 0.25) * 4]
    assert peaks.scores[0, 0].tolist() == [1.0, 0.0]
    corner = torch.zeros(1, 1, 9, 9)
    corner[0, 0, 0, 0] = 1.0
    assert find_peaks(corner, window=7, threshold=0.1, max_candidates=1).points[0, 0, 0].tolist() == [2.0, 2.0]


def test_half_precision_makes_no_second_candidate_of_one_joint() -> None:
    """Values near 1 are 1/256 apart in bfloat16: two cells of a joint midway between them are often equal."""
    torch.manual_seed(0)
    center = torch.rand(400, 2, 1, 1) * 8 + 12
    place = torch.arange(32.0)
    squared = (place - center[:, 0]) ** 2 + (place[:, None] - center[:, 1]) ** 2
    heatmaps = (0.9 * torch.exp(-squared / 8)).to(torch.bfloat16)[None]
    is_highest = heatmaps == heatmaps.amax(dim=(2, 3), keepdim=True)
    assert (is_highest.flatten(2).sum(2) > 1).sum() >= 10
    peaks = find_peaks(heatmaps, window=7, threshold=0.0025, max_candidates=4)
    assert ((peaks.scores > 0).sum(2) == 1).all()
    assert (peaks.points[0, :, 0] / 4 - 0.5 - center[..., 0, 0]).abs().max() < 0.8


def test_of_equal_cells_the_first_is_the_peak_and_distant_ones_are_peaks_of_their_own() -> None:
    heatmap = torch.zeros(1, 1, 9, 20)
    heatmap[0, 0, 4, [3, 4, 12]] = 0.5
    peaks = find_peaks(heatmap, window=7, threshold=0.1, max_candidates=5)
    assert sorted(peaks.cells[0, 0][peaks.scores[0, 0] > 0].tolist()) == [[3, 4], [12, 4]]


def test_padding_holds_no_peak_and_moves_none() -> None:
    heatmap = torch.full((1, 1, 8, 12), 0.3)
    heatmap[0, 0, 3, 5], heatmap[0, 0, 3, 6], heatmap[0, 0, 3, 4] = 0.8, 0.9, 0.1
    is_inside = (torch.arange(12) < 6).expand(1, 8, 12)
    peaks = find_peaks(heatmap, window=3, threshold=0.35, max_candidates=5, is_inside=is_inside)
    assert peaks.scores[0, 0].tolist() == pytest.approx([0.8, 0, 0, 0, 0])
    assert peaks.points[0, 0, 0].tolist() == [5.5 * 4, 3.5 * 4]


def test_only_the_best_are_kept() -> None:
    heatmap = torch.zeros(1, 1, 8, 64)
    heatmap[0, 0, 4, ::8] = torch.arange(1, 9) / 10
    peaks = find_peaks(heatmap, window=7, threshold=0.15, max_candidates=3)
    torch.testing.assert_close(peaks.scores[0, 0], torch.tensor([0.8, 0.7, 0.6]))
    assert find_peaks(torch.zeros(1, 2, 8, 8), window=7, threshold=0.0, max_candidates=3).scores.sum() == 0
