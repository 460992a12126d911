"""The paper's batch on any number of devices."""

from dataclasses import replace

import pytest

from experiments.training.batch_plan import BatchPlan, describe, plan_batches
from lightning_modules.papers import PAPERS
from lightning_modules.shared.config import OptimizerConfig, ScheduleUnit
from lightning_modules.shared.optim import learning_rate_factor
from lightning_modules.ssn.config import Config, FeatureShiftConfig


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
    def line(devices, batch_size, unit=ScheduleUnit.epoch):
        plan = plan_batches(devices=devices, batch_size=batch_size, reference_batch=16, accumulate=None)
        return describe(plan, devices=devices, batch_size=batch_size, recipe=OptimizerConfig(lr=0.01, unit=unit))

    assert line(4, 2) == "16 samples a step (4 devices × 2 × 2 accumulated)"
    assert line(1, 16) == "16 samples a step (1 device × 16)"
    assert line(2, 16) == "32 samples a step (2 devices × 16), the recipe has 16: learning rate 0.01 scaled to 0.02"
    scaled = "32 samples a step (2 devices × 16), the recipe has 16: learning rate 0.01 scaled to 0.02"
    assert line(2, 16, ScheduleUnit.step) == f"{scaled}, its steps times 0.5"
    assert line(1, 16, ScheduleUnit.step) == "16 samples a step (1 device × 16)"


@pytest.mark.parametrize("devices", [1, 2, 3, 8, 16])
def test_a_schedule_in_steps_lowers_the_rate_after_as_many_samples(devices):
    recipe = OptimizerConfig(lr=5e-4, unit=ScheduleUnit.step, milestones=[300_000, 330_000], gamma=0.5)
    plan = plan_batches(devices=devices, batch_size=10, reference_batch=16, accumulate=None)
    scaled = plan.optimizer(recipe)
    factor = learning_rate_factor(scaled, steps_per_epoch=1, total_steps=plan.steps(400_000))
    for samples, expected in ((299_000 * 16, 1.0), (301_000 * 16, 0.5), (331_000 * 16, 0.25)):
        step = samples // plan.samples_per_step
        assert scaled.lr * factor(step) == pytest.approx(5e-4 * plan.lr_factor * expected)
    assert plan.in_steps(400_000, recipe) * plan.samples_per_step == pytest.approx(400_000 * 16, rel=1e-4)
    assert [plan.in_steps(none, recipe) for none in (-1, 0)] == [-1, 0]


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("unit", ScheduleUnit)
def test_what_a_paper_counts_in_steps_shrinks_with_the_schedule(devices, unit):
    recipe = OptimizerConfig(unit=unit, milestones=[6000])
    plan = plan_batches(devices=devices, batch_size=16, reference_batch=16, accumulate=None)
    model = Config(feature_shift=FeatureShiftConfig(channels=8, insert_step=6000), sigma=3.0)
    scaled = plan.model(model, PAPERS["ssn"], recipe)
    assert [scaled.feature_shift.insert_step] == plan.optimizer(recipe).milestones
    assert scaled.feature_shift.insert_step == (6000 // devices if unit is ScheduleUnit.step else 6000)
    assert (scaled.feature_shift.channels, scaled.sigma, model.feature_shift.insert_step) == (8, 3.0, 6000)
    at_once = replace(model, feature_shift=FeatureShiftConfig(insert_step=0))
    assert plan.model(at_once, PAPERS["ssn"], recipe).feature_shift.insert_step == 0
    assert plan.model(model, PAPERS["inspose"], recipe) is model


@pytest.mark.parametrize("unit", ScheduleUnit)
def test_a_rate_that_a_paper_gives_by_itself_is_scaled_with_the_others(unit):
    recipe = OptimizerConfig(lr=5e-4, unit=unit)
    plan = plan_batches(devices=3, batch_size=16, reference_batch=16, accumulate=None)
    scaled = plan.model(Config(), PAPERS["ssn"], recipe)
    assert scaled.feature_shift.offset_lr == pytest.approx(3e-3)
    assert scaled.feature_shift.offset_lr / Config().feature_shift.offset_lr == plan.optimizer(recipe).lr / recipe.lr


def test_a_schedule_in_epochs_stays():
    recipe = OptimizerConfig(lr=0.01, milestones=[27, 33])
    plan = plan_batches(devices=8, batch_size=4, reference_batch=16, accumulate=None)
    assert plan.optimizer(recipe) == OptimizerConfig(lr=0.02, milestones=[27, 33])
    assert plan.in_steps(100, recipe) == 100
