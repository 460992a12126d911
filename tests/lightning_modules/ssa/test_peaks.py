import torch

from lightning_modules.ssa.peaks import find_peaks


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


def test_point_moves_a_quarter_cell_towards_the_larger_neighbour() -> None:
    heatmap = torch.zeros(1, 1, 9, 9)
    heatmap[0, 0, 4, 5], heatmap[0, 0, 4, 6], heatmap[0, 0, 3, 5] = 1.0, 0.5, 0.1
    peaks = find_peaks(heatmap, window=7, threshold=0.0025, max_candidates=2)
    assert peaks.points[0, 0, 0].tolist() == [(5.5 + 0.25) * 4, (4.5 - 0.25) * 4]
    assert peaks.scores[0, 0].tolist() == [1.0, 0.0]
    corner = torch.zeros(1, 1, 9, 9)
    corner[0, 0, 0, 0] = 1.0
    assert find_peaks(corner, window=7, threshold=0.1, max_candidates=1).points[0, 0, 0].tolist() == [1.0, 1.0]


def test_only_the_best_are_kept() -> None:
    heatmap = torch.zeros(1, 1, 8, 64)
    heatmap[0, 0, 4, ::8] = torch.arange(1, 9) / 10
    peaks = find_peaks(heatmap, window=7, threshold=0.15, max_candidates=3)
    torch.testing.assert_close(peaks.scores[0, 0], torch.tensor([0.8, 0.7, 0.6]))
    assert find_peaks(torch.zeros(1, 2, 8, 8), window=7, threshold=0.0, max_candidates=3).scores.sum() == 0
