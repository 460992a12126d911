import math

import pytest
import torch
from torch import Tensor

from datamodules.contracts import Meta, Persons, PoseBatch
from lightning_modules.ssa.targets import draw_heatmaps, encode_targets, ideal_rows, token_cells

GRID = (4, 6)


def batch_of(keypoints: Tensor, visibility: Tensor, masks: Tensor | None, hw: tuple[int, int] = (64, 96)) -> PoseBatch:
    images, people = visibility.shape[:2]
    return PoseBatch(
        images=torch.zeros(images, 3, *hw),
        persons=Persons(
            keypoints=keypoints,
            visibility=visibility,
            boxes=torch.zeros(images, people, 4),
            areas=torch.ones(images, people),
            is_real=torch.ones(images, people, dtype=torch.bool),
        ),
        ignore=torch.zeros(images, hw[0] // 4, hw[1] // 4, dtype=torch.bool),
        instance_masks=masks,
        meta=Meta(
            torch.arange(images),
            torch.arange(images),
            torch.tensor([hw] * images),
            torch.tensor([hw] * images),
            torch.eye(3)[:2].expand(images, 2, 3),
            torch.ones(images),
        ),
    )


def test_heatmaps_equal_a_loop_over_pixels() -> None:
    torch.manual_seed(0)
    points = torch.rand(2, 3, 2, 2) * torch.tensor([104.0, 70.0]) - 4
    is_drawn = torch.rand(2, 3, 2) < 0.7
    heatmaps = draw_heatmaps(points, is_drawn, (16, 24), sigma=2.0)
    for image in range(2):
        for joint in range(2):
            for row in range(16):
                for column in range(24):
                    values = [0.0]
                    for person in range(3):
                        x, y = (math.floor(v / 4) for v in points[image, person, joint].tolist())
                        if is_drawn[image, person, joint] and max(abs(x - column), abs(y - row)) <= 7:
                            values.append(math.exp(-((x - column) ** 2 + (y - row) ** 2) / 8))
                    assert heatmaps[image, joint, row, column].item() == pytest.approx(max(values), abs=1e-6)


def test_cells_of_the_tokens() -> None:
    points = torch.tensor([[0.0, 0.0], [15.9, 15.9], [16.0, 15.9], [95.9, 63.9], [96.0, 64.0], [33.0, 50.0]])
    assert token_cells(points, GRID, (64, 96)).tolist() == [0, 0, 1, 23, 23, 3 * 6 + 2]


def test_mirroring_the_batch_mirrors_the_targets() -> None:
    torch.manual_seed(1)
    keypoints = torch.rand(1, 2, 3, 2) * torch.tensor([96.0, 64.0])
    visibility = torch.full((1, 2, 3), 2, dtype=torch.uint8)
    masks = torch.rand(1, 2, 16, 24) < 0.5
    mirrored = torch.stack([96 - keypoints[..., 0], keypoints[..., 1]], dim=3)
    plain = encode_targets(batch_of(keypoints, visibility, masks), grid=GRID, sigma=2.0)
    flipped = encode_targets(batch_of(mirrored, visibility, masks.flip(3)), grid=GRID, sigma=2.0)
    torch.testing.assert_close(flipped.heatmap_s4, plain.heatmap_s4.flip(3))
    assert torch.equal(flipped.cells % 6, 5 - plain.cells % 6)
    assert torch.equal(flipped.cells // 6, plain.cells // 6)


def test_unlabelled_keypoints_and_padding_leave_no_trace() -> None:
    batch = batch_of(
        torch.rand(1, 2, 3, 2) * 60,
        torch.tensor([[[0, 0, 2], [2, 2, 2]]], dtype=torch.uint8),
        torch.ones(1, 2, 16, 24, dtype=torch.bool),
    )
    persons = batch.persons._replace(is_real=torch.tensor([[True, False]]))
    targets = encode_targets(batch._replace(persons=persons), grid=GRID, sigma=2.0)
    assert targets.is_labelled.tolist() == [[[False, False, True], [False] * 3]]
    assert targets.heatmap_s4[0, :2].sum() == 0
    assert targets.heatmap_s4[0, 2].max() == 1
    assert targets.cells[0, 1].tolist() == [0, 0, 0]


def test_nobody_and_no_masks() -> None:
    empty = batch_of(
        torch.zeros(2, 0, 3, 2), torch.zeros(2, 0, 3, dtype=torch.uint8), torch.zeros(2, 0, 16, 24, dtype=torch.bool)
    )
    targets = encode_targets(empty, grid=GRID, sigma=2.0)
    assert targets.heatmap_s4.shape == (2, 3, 16, 24)
    assert targets.heatmap_s4.sum() == 0
    with pytest.raises(ValueError, match="instance_masks=true"):
        encode_targets(empty._replace(instance_masks=None), grid=GRID, sigma=2.0)


def test_ideal_rows_attend_to_the_persons_of_their_cell() -> None:
    masks = torch.zeros(1, 2, 16, 24, dtype=torch.bool)
    masks[0, 0, :4, :8] = True  # tokens 0 and 1
    masks[0, 1, 4:8, :2] = True  # half of token 6
    keypoints = torch.tensor([[[[2.0, 2.0], [50.0, 2.0]], [[3.0, 3.0], [5.0, 20.0]]]])
    batch = batch_of(keypoints, torch.full((1, 2, 2), 2, dtype=torch.uint8), masks)
    rows = ideal_rows(encode_targets(batch, grid=GRID, sigma=2.0), torch.tensor([[0, 3, 6, 23]]), GRID)[0]
    expected = torch.zeros(4, 24)
    expected[0, [0, 1, 6]] = torch.tensor([0.25, 0.25, 0.5])  # both people's noses share token 0
    expected[1, :2] = 0.5
    expected[2, 6] = 1.0
    expected[3] = 1 / 24
    torch.testing.assert_close(rows, expected)
