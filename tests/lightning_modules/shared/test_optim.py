import math
from types import SimpleNamespace

import pytest
import torch

from lightning_modules.shared.config import OptimizerConfig, OptimizerName, Schedule, ScheduleUnit
from lightning_modules.shared.optim import backbone_and_heads, build_optimizer, learning_rate_factor


def test_multistep_by_epoch_with_warmup() -> None:
    config = OptimizerConfig(milestones=[27, 33], warmup_steps=2000, warmup_factor=0.001)
    factor = learning_rate_factor(config, steps_per_epoch=100, total_steps=3600)
    assert factor(0) == pytest.approx(0.001)
    assert factor(1000) == pytest.approx(0.5005)
    assert factor(2000) == factor(2699) == 1.0
    assert factor(2700) == factor(3299) == pytest.approx(0.1)
    assert factor(3300) == factor(9999) == pytest.approx(0.01)


def test_multistep_by_step_and_constant() -> None:
    config = OptimizerConfig(milestones=[5], unit=ScheduleUnit.step, gamma=0.5)
    assert [learning_rate_factor(config, 100, 10)(step) for step in (4, 5)] == [1.0, 0.5]
    assert learning_rate_factor(OptimizerConfig(schedule=Schedule.constant), 1, math.inf)(10**9) == 1.0


def test_cosine_ends_at_zero_and_needs_an_end() -> None:
    factor = learning_rate_factor(OptimizerConfig(schedule=Schedule.cosine), 10, 100)
    assert [factor(0), factor(50)] == pytest.approx([1.0, 0.5])
    assert factor(100) == factor(200) == 0.0
    with pytest.raises(ValueError, match=r"trainer\.max_epochs"):
        learning_rate_factor(OptimizerConfig(schedule=Schedule.cosine), 10, math.inf)


def trainer(**values: float) -> SimpleNamespace:
    defaults = {"estimated_stepping_batches": 30, "num_training_batches": 21, "accumulate_grad_batches": 2}
    return SimpleNamespace(**(defaults | values))


@pytest.mark.parametrize("name", list(OptimizerName))
def test_optimizers_leave_frozen_parameters_out(name: OptimizerName) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4))
    model[0].weight.requires_grad_(False)
    built = build_optimizer(model.parameters(), OptimizerConfig(name=name, weight_decay=0.3), trainer())
    (group,) = built["optimizer"].param_groups
    assert len(group["params"]) == 3
    assert group["weight_decay"] == 0.3
    assert type(built["optimizer"]).__name__.lower() == name.name


def test_epochs_are_counted_in_optimizer_steps() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    built = build_optimizer([parameter], OptimizerConfig(lr=2.0, milestones=[1]), trainer())
    scheduler, rates = built["lr_scheduler"]["scheduler"], []
    for _ in range(12):  # an epoch is ceil(21 / 2) = 11 steps
        rates.append(scheduler.get_last_lr()[0])
        built["optimizer"].step()
        scheduler.step()
    assert rates == [2.0] * 11 + [pytest.approx(0.2)]
    assert built["lr_scheduler"]["interval"] == "step"


def test_groups_keep_their_own_rate_and_nothing_to_train_is_told() -> None:
    weight, offset, frozen = (torch.nn.Parameter(torch.zeros(1), requires_grad=flag) for flag in (True, True, False))
    groups = [{"params": [weight]}, {"params": [offset], "lr": 0.5}, {"params": [frozen]}]
    built = build_optimizer(groups, OptimizerConfig(lr=1.0), trainer())
    assert [group["lr"] for group in built["optimizer"].param_groups] == [1.0, 0.5]
    with pytest.raises(ValueError, match="frozen"):
        build_optimizer([frozen], OptimizerConfig(), trainer())


def test_backbone_and_heads_share_out_every_parameter_once() -> None:
    network = torch.nn.Module()
    network.backbone = torch.nn.Linear(2, 3)
    network.head = torch.nn.Linear(3, 1)
    groups = backbone_and_heads(network, lr=0.1, backbone_lr_factor=0.25)
    assert [(group["name"], group["lr"]) for group in groups] == [("backbone", 0.025), ("heads", 0.1)]
    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in network.parameters()}
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
