from collections.abc import Callable
from typing import Any

import pytest
import torch

from lightning_modules.inspose.config import Config, Nms
from lightning_modules.inspose.decode import (
    Candidates,
    decode_candidates,
    keep_best,
    propose,
    read_keypoints,
    to_original,
)
from lightning_modules.inspose.kp_net import KPNetShape, apply_kp_nets
from lightning_modules.inspose.locations import level_shapes, locations
from lightning_modules.inspose.network import Output

Make = Callable[..., Any]
SHAPE = KPNetShape(8, 3, 17)


def random_output(image_hw: tuple[int, int], batch: int = 2, boxes: bool = False) -> Output:
    torch.manual_seed(12)
    count = sum(h * w for h, w in level_shapes(image_hw))
    height, width = level_shapes(image_hw)[0]
    return Output(
        torch.randn(batch, count),
        torch.randn(batch, SHAPE.num_parameters, count) * 0.5,
        torch.rand(batch, 8, height, width),
        torch.rand(batch, 34, height, width),
        None,
        torch.rand(batch, 4, count) * 30 if boxes else None,
    )


def test_the_best_locations_of_all_levels_are_proposed(make_batch: Make) -> None:
    output, config = random_output((64, 96)), Config(score_threshold=0.6, max_candidates=7)
    input_hw = torch.tensor([[64, 96], [40, 64]])
    found = propose(output, input_hw, (64, 96), config, SHAPE)
    points = locations((64, 96), torch.device("cpu")).points
    for b, (height, width) in enumerate(input_hw.tolist()):
        scores = output.class_logits[b].sigmoid()
        allowed = (points[:, 0] < width) & (points[:, 1] < height) & (scores > 0.6)
        expected = scores[allowed].sort(descending=True).values[:7]
        torch.testing.assert_close(found.scores[b][found.is_valid[b]], expected)


def test_candidates_equal_a_loop_over_them(make_batch: Make) -> None:
    output, config = random_output((64, 96)), Config(score_threshold=0.7)
    batch = make_batch(height=64, width=96, input_hw=[(64, 96), (50, 70)])
    batch.meta.to_original[:] = torch.tensor([[0.5, 0.0, -1.0], [0.0, 0.5, 2.0]])
    found = decode_candidates(
        propose(output, batch.meta.input_hw, (64, 96), config, SHAPE), batch.meta, (64, 96), config
    )
    grid = locations((64, 96), torch.device("cpu"))
    checked = 0
    for b, (height, width) in enumerate(batch.meta.input_hw.tolist()):
        scores = output.class_logits[b].sigmoid()
        for q in range(int(found.is_valid[b].sum())):
            location = int((scores - found.scores[b, q]).abs().argmin())
            maps = apply_kp_nets(
                output.kp_features_s8[b : b + 1],
                output.parameters[b, :, location][None, None],
                grid.points[location][None, None],
                grid.scales[location][None, None],
                SHAPE,
            )[0, 0]
            for k in range(17):
                inside = maps[k, : -(-height // 8), : -(-width // 8)]
                peak = int(inside.argmax())
                y, x = divmod(peak, inside.shape[1])
                dx, dy = output.disk_offsets_s8[b, 2 * k : 2 * k + 2, y, x].tolist()
                score = inside.flatten().softmax(0)[peak].item()
                expected = [(x + dx) * 8 * 0.5 - 1, (y + dy) * 8 * 0.5 + 2, score]
                assert found.keypoints[b, q, k].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)
            points = found.keypoints[b, q, :, :2]
            assert found.boxes[b, q].tolist() == [*points.amin(0).tolist(), *points.amax(0).tolist()]
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("stride", [16, 8, 4])
def test_chunks_change_nothing(make_batch: Make, stride: int) -> None:
    output, batch = random_output((64, 96)), make_batch(height=64, width=96)

    def decoded(chunk_cells: int) -> Candidates:
        config = Config(chunk_cells=chunk_cells, map_stride=stride, score_threshold=0.5)
        proposals = propose(output, batch.meta.input_hw, (64, 96), config, SHAPE)
        return decode_candidates(proposals, batch.meta, (64, 96), config)

    for whole, chunked in zip(decoded(10**9), decoded(1), strict=True):
        torch.testing.assert_close(whole, chunked)


def test_the_peak_of_a_map_and_its_place() -> None:
    maps = torch.zeros(1, 1, 2, 4, 6)
    maps[0, 0, 0, 2, 3] = 5.0
    maps[0, 0, 1, 3, 5] = 9.0  # padding
    maps[0, 0, 1, 0, 1] = 1.0
    inside = torch.zeros(1, 4, 6, dtype=torch.bool)
    inside[0, :3, :5] = True
    centres = read_keypoints(maps, inside, None, 8)[0, 0]
    assert centres[:, :2].tolist() == [[28.0, 20.0], [12.0, 4.0]]
    e = torch.e
    assert centres[:, 2].tolist() == pytest.approx([e**5 / (e**5 + 14), e / (e + 14)])
    offsets = torch.zeros(1, 2, 2, 4, 6)
    offsets[0, 0, :, 2, 3] = torch.tensor([0.25, -1.5])
    assert read_keypoints(maps, inside, offsets, 8)[0, 0, :, :2].tolist() == [[26.0, 4.0], [8.0, 0.0]]


def test_to_original_is_the_affine_map(make_batch: Make) -> None:
    meta = make_batch(batch=1).meta
    meta.to_original[0] = torch.tensor([[2.0, 1.0, 3.0], [0.0, -1.0, 4.0]])
    assert to_original(torch.tensor([[[10.0, 20.0]]]), meta).tolist() == [[[43.0, -16.0]]]


def candidates() -> Candidates:
    """Two that overlap with IoU 2/3 and one apart."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0.0, 2, 10, 12], [50.0, 0, 60, 10]]])
    corners = torch.stack([boxes[..., :2], boxes[..., 2:]], dim=2)
    keypoints = torch.cat([corners, torch.ones(1, 3, 2, 1)], dim=-1)
    return Candidates(keypoints, torch.tensor([[0.8, 0.9, 0.5]]), torch.ones(1, 3, dtype=torch.bool), boxes)


def test_suppression_and_the_limit(make_batch: Make) -> None:
    meta = make_batch(batch=1).meta
    hard = keep_best(candidates(), meta, Config(nms=Nms.hard, nms_threshold=0.6))
    assert hard.scores[hard.is_valid].tolist() == pytest.approx([0.9, 0.5])
    assert hard.keypoints[0, 0, 0].tolist() == [0.0, 2.0, 1.0]
    soft = keep_best(candidates(), meta, Config())
    assert soft.scores[soft.is_valid].tolist() == pytest.approx([0.9, 0.5, 0.8 / 3])
    assert keep_best(candidates(), meta, Config(max_detections=1)).scores.shape == (1, 1)
    assert hard.boxes is None
    assert hard.image_id.tolist() == [100]
    unheard = keep_best(candidates(), meta, Config(min_score=0.3))
    assert unheard.is_valid.sum() == 2


def test_detected_boxes_decide_where_there_are_any(make_batch: Make) -> None:
    output, config = random_output((64, 96), boxes=True), Config(bbox_head=True, score_threshold=0.7)
    batch = make_batch(height=64, width=96)
    batch.meta.to_original[:, 0, 0] = -1.0  # a mirrored view
    batch.meta.to_original[:, 0, 2] = 96.0
    proposals = propose(output, batch.meta.input_hw, (64, 96), config, SHAPE)
    assert proposals.boxes is not None
    found = decode_candidates(proposals, batch.meta, (64, 96), config)
    x0, y0, x1, y1 = proposals.boxes.unbind(-1)
    torch.testing.assert_close(found.boxes, torch.stack([96 - x1, y0, 96 - x0, y1], dim=-1))
    kept = keep_best(found, batch.meta, config)
    assert kept.boxes is not None
    assert kept.boxes.shape == (*kept.scores.shape, 4)


def test_nobody_above_the_threshold(make_batch: Make) -> None:
    output, config = random_output((64, 96)), Config(score_threshold=1.0)
    meta = make_batch(height=64, width=96).meta
    found = keep_best(
        decode_candidates(propose(output, meta.input_hw, (64, 96), config, SHAPE), meta, (64, 96), config), meta, config
    )
    assert found.keypoints.shape == (2, 0, 17, 3)
    assert found.is_valid.shape == (2, 0)
