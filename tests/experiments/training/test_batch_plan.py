"""The paper's batch on any number of devices."""

from dataclasses import replace

import pytest

from experiments.config import compose, list_papers
from experiments.merging import ConfigError
from experiments.schema import Accelerator, TrainerConfig
from experiments.training.batch_plan import BatchPlan, describe, devices_per_node, plan_batches, plan_run
from lightning_modules.papers import PAPERS
from lightning_modules.shared.config import LrScaling, OptimizerConfig, ScheduleUnit
from lightning_modules.shared.optim import learning_rate_factor
from lightning_modules.ssn.config import Config, FeatureShiftConfig

LINEAR = LrScaling.linear


@pytest.mark.parametrize(
    ("devices", "batch_size", "expected"),
    [
        (8, 2, (2, 1, 16)),
        (8, 16, (2, 1, 16)),
        (4, 16, (4, 1, 16)),
        (1, 2, (2, 8, 16)),
        (1, 64, (16, 1, 16)),
        (1, 5, (4, 4, 16)),
        (2, 5, (4, 2, 16)),
        (3, 16, (5, 1, 15)),
        (3, 2, (1, 5, 15)),
        (16, 2, (1, 1, 16)),
        (12, 2, (1, 1, 12)),
    ],
)
def test_the_devices_share_the_papers_batch(devices, batch_size, expected):
    plan = plan_batches(devices=devices, batch_size=batch_size, reference_batch=16)
    assert (plan.batch_size, plan.accumulate, plan.samples_per_step) == expected
    assert plan.lr_factor == 1


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
@pytest.mark.parametrize("paper", list_papers())
def test_every_recipe_keeps_the_papers_batch_and_rate(paper, devices):
    config = compose(paper)
    plan = plan_run(config, devices)
    whole = config.optimizer.reference_batch // devices * devices  # 10 on four or eight devices are 8
    assert plan.samples_per_step == whole
    assert (whole == config.optimizer.reference_batch) or (paper == "openpose_ssal" and devices in (4, 8))
    assert plan.batch_size <= config.data.batch_size
    assert plan.optimizer(config.optimizer).lr == config.optimizer.lr


@pytest.mark.parametrize(
    ("scale_lr", "factor"), [(LrScaling.none, 1.0), (LrScaling.linear, 4.0), (LrScaling.sqrt, 2.0)]
)
def test_a_larger_step_is_asked_for_and_its_rate_follows_the_named_rule(scale_lr, factor):
    plan = plan_batches(devices=2, batch_size=16, reference_batch=16, accumulate=2, scale_lr=scale_lr)
    assert plan == BatchPlan(devices=2, batch_size=16, accumulate=2, size_factor=4.0, lr_factor=factor)
    recipe = OptimizerConfig(lr=0.01, warmup_steps=2000, milestones=[27, 33])
    assert plan.optimizer(recipe) == replace(recipe, lr=0.01 * factor, warmup_steps=500)


def test_warm_up_has_as_many_samples_whatever_the_step():
    recipe = OptimizerConfig(warmup_steps=2000)
    for devices, accumulate in ((1, 1), (3, None), (8, 4)):
        plan = plan_batches(devices=devices, batch_size=2, reference_batch=16, accumulate=accumulate)
        assert plan.optimizer(recipe).warmup_steps * plan.samples_per_step == pytest.approx(2000 * 16, rel=1e-3)
    assert plan.optimizer(OptimizerConfig()).warmup_steps == 0


def test_more_devices_than_samples_are_refused():
    with pytest.raises(ConfigError, match=r"trainer.devices: 32 devices are more than the 16 samples of the recipe's"):
        plan_batches(devices=32, batch_size=2, reference_batch=16)
    assert plan_batches(devices=32, batch_size=2, reference_batch=16, accumulate=1).samples_per_step == 64


@pytest.mark.parametrize(
    ("devices", "accelerator", "count"),
    [
        (8, Accelerator.auto, 8),
        ("8", Accelerator.auto, 8),
        ("0,2", Accelerator.gpu, 2),
        ("3,", Accelerator.gpu, 1),
        ("auto", Accelerator.cpu, 1),
        ("auto", Accelerator.auto, None),
        (-1, Accelerator.gpu, None),
    ],
)
def test_the_devices_of_a_node_are_known_before_they_are_there(devices, accelerator, count):
    assert devices_per_node(TrainerConfig(devices=devices, accelerator=accelerator)) == count


def test_the_opening_line_names_step_rate_and_what_differs_from_the_recipe():
    def line(devices, batch_size, unit=ScheduleUnit.epoch, accumulate=None, scale_lr=LrScaling.none):
        plan = plan_batches(
            devices=devices, batch_size=batch_size, reference_batch=16, accumulate=accumulate, scale_lr=scale_lr
        )
        return describe(plan, OptimizerConfig(lr=0.01, unit=unit, scale_lr=scale_lr))

    assert line(4, 2) == "16 samples a step (4 devices × 2 × 2 accumulated), learning rate 0.01"
    assert line(1, 16) == "16 samples a step (1 device × 16), learning rate 0.01"
    kept = "15 samples a step (3 devices × 5), the recipe has 16: learning rate 0.01 kept (optimizer.scale_lr=none)"
    assert line(3, 16) == kept
    assert line(3, 16, ScheduleUnit.step) == f"{kept}, its steps times 1.07"
    scaled = "32 samples a step (2 devices × 16), the recipe has 16: learning rate 0.01 scaled to 0.02"
    assert line(2, 16, accumulate=1, scale_lr=LINEAR) == f"{scaled} (optimizer.scale_lr=linear)"


@pytest.mark.parametrize("devices", [1, 2, 3, 8, 16])
def test_a_schedule_in_steps_lowers_the_rate_after_as_many_samples(devices):
    recipe = OptimizerConfig(lr=5e-4, unit=ScheduleUnit.step, milestones=[300_000, 330_000], gamma=0.5)
    plan = plan_batches(devices=devices, batch_size=10, reference_batch=16, accumulate=1, scale_lr=LINEAR)
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
    plan = plan_batches(devices=devices, batch_size=16, reference_batch=16, accumulate=1, scale_lr=LINEAR)
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
    plan = plan_batches(devices=3, batch_size=16, reference_batch=16, accumulate=1, scale_lr=LINEAR)
    scaled = plan.model(Config(), PAPERS["ssn"], recipe)
    assert scaled.feature_shift.offset_lr == pytest.approx(3e-3)
    assert scaled.feature_shift.offset_lr / Config().feature_shift.offset_lr == plan.optimizer(recipe).lr / recipe.lr


def test_a_schedule_in_epochs_stays():
    recipe = OptimizerConfig(lr=0.01, milestones=[27, 33])
    plan = plan_batches(devices=8, batch_size=4, reference_batch=16, accumulate=1, scale_lr=LINEAR)
    assert plan.optimizer(recipe) == OptimizerConfig(lr=0.02, milestones=[27, 33])
    assert plan.in_steps(100, recipe) == 100
