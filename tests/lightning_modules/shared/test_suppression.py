import math
from contextlib import AbstractContextManager
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou as torchvision_iou
from torchvision.ops import nms

from lightning_modules.shared.suppression import Suppression, box_iou, suppress


def random_boxes(*shape: int) -> torch.Tensor:
    corner = torch.rand(*shape, 2) * 30
    return torch.cat([corner, corner + 2 + torch.rand(*shape, 2) * 25], dim=-1)


def test_iou_equals_torchvision() -> None:
    a, b = random_boxes(20), random_boxes(30)
    torch.testing.assert_close(box_iou(a[:, None], b[None]), torchvision_iou(a, b))
    assert box_iou(torch.zeros(4), torch.zeros(4)).item() == 0.0


def compiling() -> AbstractContextManager[object]:
    """Has fixed shapes on a CPU too."""
    return mock.patch("torch.compiler.is_compiling", return_value=True)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.0, 0.3, 0.6, 1.0]), levels=st.sampled_from([5, 1000]))
def test_hard_equals_torchvision(seed: int, threshold: float, levels: int) -> None:
    torch.manual_seed(seed)
    boxes, scores = random_boxes(3, 40), (torch.randint(0, levels, (3, 40)) + 1) / levels  # few levels: ties
    is_valid = torch.rand(3, 40) < 0.8
    with compiling():
        kept = suppress(boxes, scores, is_valid, method=Suppression.hard, threshold=threshold, max_out=40)
    for b in range(3):
        alive = is_valid[b].nonzero()[:, 0]
        expected = alive[nms(boxes[b, alive], scores[b, alive], threshold)]
        assert kept.indices[b][kept.is_valid[b]].tolist() == expected.tolist()
        assert kept.scores[b][kept.is_valid[b]].tolist() == scores[b, expected].tolist()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from([0.0, 0.25, 0.6, 1.0]), most=st.sampled_from([3, 40]))
def test_both_forms_of_hard_keep_the_same(seed: int, threshold: float, most: int) -> None:
    torch.manual_seed(seed)
    boxes, scores = random_boxes(3, 40).round(), torch.randint(0, 6, (3, 40)) / 5  # ties, zeros, IoUs on the threshold
    boxes[:, 7:9, 2:] = boxes[:, 7:9, :2]  # without area
    options = {"method": Suppression.hard, "threshold": threshold, "max_out": most, "min_score": 0.2}
    is_valid = torch.rand(3, 40) < 0.8
    is_valid[1] = False
    found = suppress(boxes, scores, is_valid, **options)
    with compiling():
        expected = suppress(boxes, scores, is_valid, **options)
    assert all(map(torch.equal, found, expected))


def test_an_iou_equal_to_the_threshold_does_nothing_on_a_cpu_either() -> None:
    boxes, both = torch.tensor([[[0.0, 0, 5, 1], [0, 0, 3, 1]]]), torch.ones(1, 2).bool()  # IoU 0.6 in fp32
    kept = suppress(boxes, torch.tensor([[0.9, 0.8]]), both, method=Suppression.hard, threshold=0.6, max_out=2)
    assert kept.is_valid.all()
    assert len(nms(boxes[0], torch.tensor([0.9, 0.8]), 0.6)) == 1  # where fp32 meets double precision


def soft_by_loop(boxes, scores, method, threshold, sigma, min_score):
    scores, left, found = scores.double().tolist(), list(range(len(scores))), []
    iou = torchvision_iou(boxes.double(), boxes.double())
    left = [i for i in left if scores[i] > min_score]
    while left:
        best = max(left, key=lambda i: scores[i])
        found.append((best, scores[best]))
        left.remove(best)
        for i in left:
            overlap = iou[best, i].item()
            if method is Suppression.soft_gaussian:
                scores[i] *= math.exp(-(overlap**2) / sigma)
            elif overlap > threshold:
                scores[i] *= 1 - overlap
        left = [i for i in left if scores[i] > min_score]
    return found


@pytest.mark.parametrize("method", [Suppression.soft_linear, Suppression.soft_gaussian])
def test_soft_equals_the_loop(method: Suppression) -> None:
    torch.manual_seed(5)
    boxes, scores = random_boxes(2, 30), torch.rand(2, 30)
    kept = suppress(
        boxes, scores, torch.ones(2, 30).bool(), method=method, threshold=0.3, max_out=30, sigma=0.4, min_score=0.05
    )
    for b in range(2):
        expected = soft_by_loop(boxes[b], scores[b], method, 0.3, 0.4, 0.05)
        found = kept.is_valid[b]
        assert kept.indices[b][found].tolist() == [i for i, _ in expected]
        assert kept.scores[b][found].tolist() == pytest.approx([s for _, s in expected], rel=1e-5)


def test_limits_and_empties() -> None:
    boxes, scores = random_boxes(2, 6), torch.rand(2, 6)
    options = {"method": Suppression.hard, "threshold": 1.0}
    assert suppress(boxes, scores, torch.ones(2, 6).bool(), max_out=4, **options).is_valid.sum(1).tolist() == [4, 4]
    nobody = suppress(boxes, scores, torch.zeros(2, 6).bool(), max_out=4, **options)
    assert not nobody.is_valid.any()
    assert not nobody.scores.any()
    assert suppress(boxes[:, :0], scores[:, :0], torch.zeros(2, 0).bool(), max_out=4, **options).indices.shape == (2, 0)
