"""The recipe's attention, loss, rates and map size move a module's offsets; Eq. 6 to the letter does not."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from experiments.config import compose
from lightning_modules.ssn.config import CorrelationAttention
from lightning_modules.ssn.criterion import Criterion
from lightning_modules.ssn.feature_shift import FeatureShiftModule
from lightning_modules.ssn.network import Output
from lightning_modules.ssn.targets import Targets
from lightning_modules.ssn.u_shape import heatmap_convolution

HW = (64, 48)
PREDICTORS = 7


def steps_by_rate(kind: CorrelationAttention | None, steps: int = 8) -> float:
    """Median |step| / rate of the offsets in the last of ``steps`` steps; the module feeds one of seven predictors."""
    recipe = compose("ssn")
    config = replace(recipe.model.feature_shift, insert_step=0)
    shift = FeatureShiftModule(8, 16, config if kind is None else replace(config, correlation_attention=kind))
    head = heatmap_convolution(8, 17)
    maps = F.relu(torch.randn(2, 8, *HW))
    targets = Targets(torch.rand(2, 17, *HW).pow(16), torch.ones(2, 17))
    others = [parameter for name, parameter in shift.named_parameters() if not name.endswith(".offsets")]
    groups = [{"params": [*others, *head.parameters()]}, {"params": [shift.shift.offsets], "lr": config.offset_lr}]
    optimizer = torch.optim.Adam(groups, lr=recipe.optimizer.lr, eps=recipe.optimizer.eps)
    for _ in range(steps):
        before = shift.shift.offsets.detach().clone()
        heatmaps = head(shift(maps))
        all_heatmaps = torch.stack([heatmaps, *[torch.zeros_like(heatmaps)] * (PREDICTORS - 1)], 1)
        optimizer.zero_grad()
        Criterion()(Output(heatmaps, all_heatmaps), targets)["heatmap"].backward()
        optimizer.step()
    return float((shift.shift.offsets.detach() - before).abs().median()) / config.offset_lr


@pytest.mark.parametrize("seed", [0, 1])
def test_offsets_of_the_default_recipe_move(seed):
    torch.manual_seed(seed)
    assert steps_by_rate(None) >= 0.1


def test_equation_6_to_the_letter_starves_them():
    torch.manual_seed(0)
    assert steps_by_rate(CorrelationAttention.normalized) < 0.01
