import dataclasses

import pytest
import torch

from datamodules.skeleton import COCO
from lightning_modules.openpose_ssal.config import Config, KlForm, NetworkConfig, PddSchedule, SelfSupervision
from lightning_modules.openpose_ssal.converters import Converters, Generated
from lightning_modules.openpose_ssal.criterion import Criterion
from lightning_modules.openpose_ssal.network import Output
from lightning_modules.openpose_ssal.parts import parts_of
from lightning_modules.openpose_ssal.targets import encode_targets
from losses.progressive_direction import stage_factors
from tests.lightning_modules.openpose_ssal.scenes import random_batch

PARTS = parts_of(COCO)
STAGES = 6
BASELINE = Config(
    network=NetworkConfig(stages=STAGES),
    block_offsets=False,
    self_supervision=SelfSupervision.none,
    salm_alpha=0,
    pdd_schedule=PddSchedule.uniform,
)


def random_output(seed=0, batch=2, grid=(8, 12)) -> Output:
    generator = torch.Generator().manual_seed(seed)

    def draw(*channels: int) -> torch.Tensor:
        return torch.randn(STAGES, batch, *channels, *grid, generator=generator).requires_grad_()

    return Output(draw(19), draw(19, 2), draw(18, 2))


def terms_of(config, output, batch):
    converters = Converters(config.self_supervision, STAGES, 18, 19, width=4)
    targets = encode_targets(batch, PARTS, config)
    return Criterion(config, PARTS)(output, converters(output), targets), converters, targets


def total(terms, config):
    assert set(terms) <= set(config.loss_weights)
    return sum(config.loss_weights[name] * term for name, term in terms.items())


def test_switched_off_it_is_exactly_openposes_loss():
    batch, output = random_batch(0), random_output()._replace(offsets=None)
    terms, _, targets = terms_of(BASELINE, output, batch)
    heat = (output.heatmaps - targets.heatmaps).square().sum() / 2
    fields = (output.pafs - targets.pafs).square().sum() / 2
    assert terms["heatmap"].equal(0.5 * heat)
    assert terms["paf"].equal(0.5 * fields)
    assert total(terms, BASELINE).equal(0.5 * heat + 0.5 * fields)


@pytest.mark.parametrize("gamma", [0.0, 9.0, 99.0])
def test_weights_follow_equation_14(gamma):
    weights = Config(gamma=gamma, divide_by_delta=False).loss_weights
    assert weights == {
        "heatmap": gamma,
        "paf": gamma + 1,
        "offset": gamma + 1,
        "generated_heatmap": 1,
        "heatmap_kl": 1,
    }
    assert Config(gamma=gamma).loss_weights["paf"] == 1
    assert dataclasses.replace(BASELINE, gamma=gamma).loss_weights == {"heatmap": 1, "paf": 1}


def test_perfect_predictions_cost_nothing():
    batch = random_batch(1)
    targets = encode_targets(batch, PARTS, Config())
    perfect = Output(*(t.expand(STAGES, *t.shape) for t in (targets.heatmaps, targets.pafs, targets.offsets)))
    terms = Criterion(Config(), PARTS)(perfect, Generated(perfect.heatmaps, None), targets)
    assert {name: term.item() for name, term in terms.items()} == dict.fromkeys(Config().loss_weights, 0.0)


def test_swapped_sides_cost_beta_where_the_counterpart_is():
    batch = random_batch(2, people=1)
    pdd = dataclasses.replace(BASELINE, pdd_schedule=PddSchedule.linear)
    targets = encode_targets(batch, PARTS, pdd)
    part_partner = torch.tensor([*PARTS.part_partners, 18])
    limb_partner = torch.tensor(PARTS.limb_partners)
    swapped = Output(
        targets.heatmaps[:, part_partner].expand(STAGES, -1, -1, -1, -1),
        targets.pafs[:, limb_partner].expand(STAGES, -1, -1, -1, -1, -1),
        None,
    )
    terms, _, _ = terms_of(pdd, swapped, batch)
    betas = torch.tensor(stage_factors("linear", STAGES))

    def expected(error, fault):
        return 0.5 * (betas.sum() * error[fault].sum() + STAGES * error[~fault].sum()) / 2

    heat = (swapped.heatmaps[0] - targets.heatmaps).square()
    active = targets.heatmaps > 0.4
    fields = (swapped.pafs[0] - targets.pafs).square().sum(2)
    on = targets.on_limb
    torch.testing.assert_close(terms["heatmap"], expected(heat, active[:, part_partner] & ~active))
    torch.testing.assert_close(terms["paf"], expected(fields, on[:, limb_partner] & ~on))


def test_attention_multiplies_the_fields_error_only():
    batch, output = random_batch(3), random_output()._replace(offsets=None)
    salm = dataclasses.replace(BASELINE, salm_alpha=10.0)
    terms, _, targets = terms_of(salm, output, batch)
    baseline, _, _ = terms_of(BASELINE, output, batch)
    weighted = (output.pafs - targets.pafs).square() * (10 * targets.attention + 1)[:, :, None]
    torch.testing.assert_close(terms["paf"], 0.5 * weighted.sum() / 2)
    assert terms["heatmap"].equal(baseline["heatmap"])


@pytest.mark.parametrize("direction", SelfSupervision)
@pytest.mark.parametrize("form", KlForm)
def test_every_prediction_and_converter_learns(direction, form):
    config = Config(self_supervision=direction, kl_form=form)
    output = random_output()
    terms, converters, _ = terms_of(config, output, random_batch(4))
    assert set(terms) == set(config.loss_weights)
    total(terms, config).backward()
    for prediction in output:
        assert (prediction.grad.abs().sum((1, 2)) > 0).flatten(1).any(1).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in converters.parameters())


@pytest.mark.parametrize("case", ["nobody", "ignored"])
@pytest.mark.fault(8, "OpenPose: nobody, no keypoints, all ignored", "touches every parameter")
def test_batches_that_teach_little_touch_everything(case):
    batch, config = random_batch(5), Config(self_supervision=SelfSupervision.both)
    if case == "nobody":
        people = batch.persons
        batch = batch._replace(persons=people._replace(is_real=torch.zeros_like(people.is_real)))
    else:
        batch = batch._replace(ignore=torch.ones_like(batch.ignore))
    output = random_output()
    terms, converters, _ = terms_of(config, output, batch)
    total(terms, config).backward()
    assert all(prediction.grad is not None for prediction in output)
    assert all(p.grad is not None for p in converters.parameters())
    zero = set(terms) if case == "ignored" else {"offset"}
    assert {name for name, term in terms.items() if term == 0} >= zero


def test_mixed_precision_is_left_at_the_door():
    output = Output(*(field.detach().bfloat16() for field in random_output()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms, _, _ = terms_of(Config(), output, random_batch(6))
    assert {term.dtype for term in terms.values()} == {torch.float32}
