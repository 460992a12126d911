"""Guided-point losses against loops over single points in float64."""

import math

import pytest
import torch

from losses.guided_point import GuidedPointClassification, GuidedPointRegression

SIGMA = 2.0


@pytest.fixture
def points():
    """Two images, four keypoints, nine points; keypoint (0, 1) has no positive, (1, 2) no negative point."""
    generator = torch.Generator().manual_seed(3)
    offset = torch.randn(2, 4, 9, 2, generator=generator) * 5
    offset[0, 1] += 100
    offset[1, 2] = offset[1, 2] / 100
    is_positive = offset.norm(dim=-1) < 3 * SIGMA
    assert not is_positive[0, 1].any()
    assert is_positive[1, 2].all()
    logits = torch.randn(2, 4, 9, 2, generator=generator) * 2
    predicted = torch.randn(2, 4, 9, 2, generator=generator)
    weight = torch.tensor([[1.0, 1.0, 0.0, 0.5], [0.0, 1.0, 1.0, 2.0]])
    return logits, predicted, offset, is_positive, weight


def loop_classification(logits, offset, is_positive, weight):
    """Eq. 8 and 10, point by point."""
    total, normalizer = 0.0, 0.0
    for b, k in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
        positive, negative = [], []
        for n in range(logits.shape[2]):
            background, keypoint = logits[b, k, n].double().tolist()
            log_sum = math.log(math.exp(background) + math.exp(keypoint))
            if is_positive[b, k, n]:
                dx, dy = offset[b, k, n].double().tolist()
                positive.append(math.exp(-(dx * dx + dy * dy) / (2 * SIGMA**2)) * (log_sum - keypoint))
            else:
                negative.append(log_sum - background)
        loss = 0.5 * sum(sum(part) / len(part) for part in (positive, negative) if part)
        total += float(weight[b, k]) * loss
        normalizer += float(weight[b, k])
    return total / normalizer


def loop_regression(predicted, offset, is_positive, weight):
    """Eq. 9 and 10, point by point."""
    total, normalizer = 0.0, 0.0
    for b, k in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
        errors = [
            sum(abs(r - d) for r, d in zip(p.double().tolist(), o.double().tolist(), strict=True)) / 2
            for p, o, used in zip(predicted[b, k], offset[b, k], is_positive[b, k], strict=True)
            if used
        ]
        total += float(weight[b, k]) * (sum(errors) / len(errors) if errors else 0.0)
        normalizer += float(weight[b, k])
    return total / normalizer


def test_classification_equals_the_loop(points):
    logits, _, offset, is_positive, weight = points
    loss = GuidedPointClassification(SIGMA)(logits, offset, is_positive, weight)
    assert loss.item() == pytest.approx(loop_classification(logits, offset, is_positive, weight), rel=1e-5)


def test_regression_equals_the_loop(points):
    _, predicted, offset, is_positive, weight = points
    loss = GuidedPointRegression()(predicted, offset, is_positive, weight)
    assert loss.item() == pytest.approx(loop_regression(predicted, offset, is_positive, weight), rel=1e-5)


def test_classification_by_hand():
    """One positive at distance σ√2 (α = 1/e) with even odds, three negatives with odds 1:3 the wrong way."""
    logits = torch.zeros(1, 1, 4, 2)
    logits[0, 0, 1:, 1] = math.log(3)
    offset = torch.tensor([[SIGMA, SIGMA], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])[None, None]
    is_positive = torch.tensor([True, False, False, False])[None, None]
    loss = GuidedPointClassification(SIGMA)(logits, offset, is_positive, torch.ones(1, 1))
    assert loss.item() == pytest.approx(0.5 * (math.log(2) / math.e + math.log(4)), rel=1e-6)


def test_regression_unit_divides_the_true_offset():
    """A prediction of 1 unit of 6 pixels meets an offset of 6 pixels; an offset of 9 is missed by half a unit."""
    offset = torch.tensor([[6.0, 9.0]])[None, None]
    loss = GuidedPointRegression(unit=6.0)(
        torch.ones_like(offset), offset, torch.ones(1, 1, 1).bool(), torch.ones(1, 1)
    )
    assert loss.item() == pytest.approx(0.25)


def test_alpha_does_not_enter_the_count():
    """N⁺ divides, not Σα: a point far out (α ≈ 0) halves the loss of the one at the keypoint."""
    offset = torch.tensor([[0.0, 0.0], [100.0, 0.0]])[None, None]
    every = torch.ones(1, 1, 2, dtype=torch.bool)
    loss = GuidedPointClassification(SIGMA)(torch.zeros(1, 1, 2, 2), offset, every, torch.ones(1, 1))
    assert loss.item() == pytest.approx(0.5 * math.log(2) / 2, rel=1e-6)


@pytest.mark.parametrize("weight", [torch.zeros(2, 4), torch.zeros(0, 4)], ids=["no label", "no crop"])
def test_nothing_labelled_gives_zero_and_zero_gradients(points, weight):
    logits, predicted, offset, is_positive, _ = (tensor[: len(weight)] for tensor in points)
    logits, predicted = logits.clone().requires_grad_(), predicted.clone().requires_grad_()
    loss = GuidedPointClassification(SIGMA)(logits, offset, is_positive, weight)
    loss = loss + GuidedPointRegression()(predicted, offset, is_positive, weight)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    assert torch.equal(predicted.grad, torch.zeros_like(predicted))


def test_unlabelled_keypoints_get_no_gradient(points):
    logits, predicted, offset, is_positive, weight = points
    logits.requires_grad_()
    predicted.requires_grad_()
    loss = GuidedPointClassification(SIGMA)(logits, offset, is_positive, weight)
    (loss + GuidedPointRegression()(predicted, offset, is_positive, weight)).backward()
    assert torch.equal(logits.grad.abs().sum((2, 3)) > 0, weight > 0)
    assert torch.equal(predicted.grad.abs().sum((2, 3)) > 0, (weight > 0) & is_positive.any(-1))


def test_losses_stay_in_fp32_under_autocast(points):
    logits, predicted, offset, is_positive, weight = points
    expected = GuidedPointClassification(SIGMA)(logits, offset, is_positive, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = GuidedPointClassification(SIGMA)(logits, offset, is_positive, weight)
        distance = GuidedPointRegression()(predicted, offset, is_positive, weight)
    assert loss.dtype == distance.dtype == torch.float32
    assert torch.equal(loss, expected)
