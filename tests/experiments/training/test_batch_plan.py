"""The paper's batch on any number of devices."""

import pytest

from experiments.training.batch_plan import BatchPlan, describe, plan_batches


@pytest.mark.parametrize(
    ("devices", "batch_size", "accumulate", "expected"),
    [
        (8, 2, None, BatchPlan(1, 16, 1.0)),
        (1, 2, None, BatchPlan(8, 16, 1.0)),
        (2, 16, None, BatchPlan(1, 32, 2.0)),
        (3, 2, None, BatchPlan(2, 12, 0.75)),
        (1, 2, 4, BatchPlan(4, 8, 0.5)),
    ],
)
def test_samples_per_step_and_learning_rate(devices, batch_size, accumulate, expected):
    plan = plan_batches(devices=devices, batch_size=batch_size, reference_batch=16, accumulate=accumulate)
    assert plan == expected


def test_the_opening_line_tells_what_is_done_to_the_recipe():
    def line(devices, batch_size):
        plan = plan_batches(devices=devices, batch_size=batch_size, reference_batch=16, accumulate=None)
        return describe(plan, devices=devices, batch_size=batch_size, reference_batch=16, lr=0.01)

    assert line(4, 2) == "16 samples a step (4 devices × 2 × 2 accumulated)"
    assert line(1, 16) == "16 samples a step (1 device × 16)"
    assert line(2, 16) == "32 samples a step (2 devices × 16), the recipe has 16: learning rate 0.01 scaled to 0.02"
