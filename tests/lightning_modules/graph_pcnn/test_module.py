"""A training step and both stages' people, without a Trainer."""

import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.skeleton import COCO
from lightning_modules.graph_pcnn.config import Config, Decoding, Refinement
from lightning_modules.graph_pcnn.module import GraphPCNN
from lightning_modules.shared.config import BackboneConfig, OptimizerConfig

VARIANTS = {
    "gpr": {},
    "struct_agnostic": {"refinement": Refinement.struct_agnostic},
    "gpr_va": {"refinement": Refinement.gpr_va},
    "gpr_vb": {"refinement": Refinement.gpr_vb},
    "gpr_vc": {"shuffle": False},
    "proportion": {"proportion": [1, 2, 0]},
    "base": {"refinement": Refinement.none},
    "dark": {"refinement": Refinement.none, "decoding": Decoding.dark},
}


def module(**switches):
    torch.manual_seed(0)
    backbone = BackboneConfig(name="resnet18", weights=None, frozen_stages=0)
    config = Config(
        backbone=backbone, deconv_channels=[8, 8, 8], refinement_channels=8, sigma=1.0, num_points=12, **switches
    )
    made = GraphPCNN(config, OptimizerConfig(), COCO)
    made.log = made.log_dict = lambda *args, **kwargs: None
    return made


def batch(visible=2):
    generator = torch.Generator().manual_seed(0)
    visibility = torch.full((2, 1, 17), visible, dtype=torch.uint8)
    keypoints = torch.rand(2, 1, 17, 2, generator=generator) * 64 * (visibility > 0)[..., None]
    boxes = torch.tensor([0.0, 0.0, 64.0, 64.0]).expand(2, 1, 4)
    persons = Persons(keypoints, visibility, boxes, torch.ones(2, 1), torch.ones(2, 1).bool())
    size = torch.tensor([[64, 64]]).expand(2, 2)
    affine = torch.tensor([[2.0, 0.0, 30.0], [0.0, 2.0, 40.0]]).expand(2, 2, 3)
    meta = Meta(torch.tensor([5, 6]), torch.tensor([9, 9]), size, size, affine, torch.ones(2))
    images = torch.randn(2, 3, 64, 64, generator=generator)
    return PoseBatch(images, persons, torch.zeros(2, 16, 16).bool(), None, meta)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_takes_a_step_and_leaves_no_parameter_out(name):
    made = module(**VARIANTS[name])
    loss = made.training_step(batch(), 0)
    assert loss.isfinite()
    assert loss > 0
    loss.backward()
    assert [key for key, value in made.named_parameters() if value.grad is None] == []
    stages = made.eval().predict(batch())
    assert list(stages) == (["stage1"] if made.config.refinement is Refinement.none else ["stage1", "stage2"])


@pytest.mark.fault(8, "Graph-PCNN: nobody labelled", "zero loss; touches every parameter")
def test_nobody_labelled_gives_zero_loss_and_gradients_everywhere():
    made = module()
    loss = made.training_step(batch(visible=0), 0)
    assert loss.item() == 0
    loss.backward()
    assert all(value.grad is not None and not value.grad.any() for value in made.parameters())


def test_the_loss_weighs_the_terms_as_configured():
    """λ = 16 stands on the regression term: doubling it adds 16 times that term."""
    losses = []
    for weight in (0.0, 16.0, 32.0):
        made = module()
        made.loss_weights["regression"] = weight
        torch.manual_seed(1)
        losses.append(made.training_step(batch(), 0).item())
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)
    assert Config().loss_weights.regression == 16


def test_both_stages_come_back_in_photograph_pixels():
    made = module().eval()
    stages = made.validation_step(batch(), 0)
    heat = made.estimate(made.network, batch().images)
    expected = heat.stage2 * 4 * 2 + torch.tensor([30.0, 40.0])
    assert torch.allclose(stages["stage2"].keypoints[:, 0, :, :2], expected, atol=1e-4)
    assert torch.equal(stages["stage1"].scores, stages["stage2"].scores)
    assert stages["stage2"].sample_id.tolist() == [5, 6]
    assert torch.equal(made.predict_step(batch()).keypoints, stages["stage2"].keypoints)


def test_a_checkpoint_holds_plain_data(tmp_path):
    made = module()
    torch.save({"hyper_parameters": dict(made.hparams), "state_dict": made.state_dict()}, tmp_path / "module.ckpt")
    loaded = torch.load(tmp_path / "module.ckpt", weights_only=True)
    assert loaded["hyper_parameters"]["config"]["refinement"] == "gpr"
