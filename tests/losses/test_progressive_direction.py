import pytest
import torch

from losses.masked_squared_error import MaskedSquaredError
from losses.progressive_direction import SCHEDULES, ProgressiveDirection, direction_fault, stage_factors


def test_schedules_are_the_papers():
    assert stage_factors("linear", 6) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert stage_factors("quadratic_b", 6) == (0, 0.05, 0.15, 0.31, 0.65, 1)
    assert set(stage_factors("uniform", 6)) == {1.0}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_other_numbers_of_stages_keep_both_ends_and_the_order(schedule):
    factors = stage_factors(schedule, 3)
    assert (factors[0], factors[-1]) == (SCHEDULES[schedule][0], SCHEDULES[schedule][-1])
    assert list(factors) == sorted(factors)
    assert stage_factors(schedule, 1) == (1.0,)
    assert stage_factors(schedule, 11)[::2] == pytest.approx(SCHEDULES[schedule])


@pytest.mark.parametrize(("schedule", "stages"), [("cubic", 6), ("linear", 0)])
def test_unknown_schedule_and_no_stage_are_refused(schedule, stages):
    with pytest.raises(ValueError, match=r"schedule|stages"):
        stage_factors(schedule, stages)


def test_swapped_sides_cost_beta_and_all_else_costs_what_it_did():
    target = torch.zeros(1, 3, 4, 4)  # middle, left, right
    target[0, 0, 0, 0] = target[0, 1, 1, 1] = target[0, 2, 2, 2] = 1.0
    partner = torch.tensor([0, 2, 1])
    fault = direction_fault(target > 0.4, partner)
    assert fault.nonzero().tolist() == [[0, 1, 2, 2], [0, 2, 1, 1]]
    betas = stage_factors("quadratic_b", 6)
    swapped = target[:, partner].expand(6, 1, 3, 4, 4)
    baseline = (swapped - target).square()
    error = baseline * ProgressiveDirection(betas)(fault)
    for stage, beta in enumerate(betas):
        assert error[stage, 0, 1, 2, 2].item() == pytest.approx(beta)  # left where right is
        assert error[stage, 0, 2, 1, 1].item() == pytest.approx(beta)
        assert error[stage][~fault].equal(baseline[stage][~fault])  # the missed own part costs 1
    weight = ProgressiveDirection(betas)(fault)
    assert MaskedSquaredError()(swapped, target, weight=weight).item() == pytest.approx(2 * 6 + 2 * sum(betas))


def test_uniform_weights_are_exactly_one():
    fault = torch.rand(2, 3, 4, 4) > 0.5
    assert (ProgressiveDirection(stage_factors("uniform", 6))(fault) == 1).all()
