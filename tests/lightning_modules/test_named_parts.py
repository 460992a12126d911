"""The parts each paper names, at smoke size."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from callbacks.term_shares import term_shares
from datamodules.config import RenderedConfig
from datamodules.skeleton import COCO
from datamodules.synthetic import make_dataset
from experiments.benchmarks.end_to_end import batch_of
from experiments.benchmarks.measuring import Setting
from experiments.config import compose
from lightning_modules.papers import PAPERS, load
from lightning_modules.ssn.feature_shift import FeatureShiftModule


def module_of(paper: str, *overrides: str) -> Any:
    config = compose(paper, "smoke", list(overrides))
    return load(PAPERS[paper].module)(config.model, config.optimizer, COCO)


NAMES = {
    "ssn": {"trunk", "fsm1", "fsm1_offsets", "fsm1_attention", "fsm3_offsets", "predictor"},
    "graph_pcnn": {"trunk", "heatmap_stage", "heatmap_layer", "localization_subnet"},
    "inspose": {"backbone", "fpn", "class_head", "parameter_head", "disk_head", "heatmap_head"},
    "ssa": {"backbone", "reduce", "attention1", "head"},
    "ssa_refiner": {"backbone", "reduce", "attention1", "head"},
    "openpose_ssal": {"trunk", "reduce", "paf_stage1", "heatmap_stage2", "to_heatmap1"},
}


@pytest.mark.parametrize("paper", NAMES)
def test_every_parameter_is_in_one_part(paper: str) -> None:
    module = module_of(paper)
    parts = module.named_parts()
    assert NAMES[paper] <= set(parts)
    held = [id(parameter) for part in parts.values() for parameter in part.parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in module.parameters())
    assert all("/" not in name and part.parameters for name, part in parts.items())


def test_the_whole_ssn_has_thirteen_modules_and_they_learn_once_inserted() -> None:
    module = module_of(
        "ssn",
        "model.architecture=ssn",
        "model.early_predictors=bottleneck",
        "model.backbone.name=resnet50_gn",
        "model.backbone.weights=null",
        "model.feature_shift.insert_step=10",
    )
    parts = module.named_parts()
    assert {f"fsm{n}_offsets" for n in range(1, 14)} | {"trunk", "u_shape", "early_predictors"} <= set(parts)
    held = [id(parameter) for part in parts.values() for parameter in part.parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in module.parameters())
    assert {name for name, part in parts.items() if part.should_learn} == {"trunk", "u_shape", "early_predictors"}
    for one in module.modules():
        if isinstance(one, FeatureShiftModule):
            one.insert()
    assert all(part.should_learn for part in module.named_parts().values())
    assert parts["fsm2_offsets"].parameters[0].shape[1] == 2


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = RenderedConfig(train_images=1, val_images=4, size=128)
    return make_dataset(tmp_path_factory.mktemp("rendered") / "people", config, workers=1)


@pytest.mark.parametrize("paper", ["graph_pcnn", "inspose", "ssa", "openpose_ssal"])
def test_every_loss_term_has_a_norm_at_the_shared_features(paper: str, rendered: Path) -> None:
    module = module_of(paper).train()
    batch = batch_of(compose(paper, "smoke"), rendered, 2, Setting())
    trainer: Any = SimpleNamespace(precision_plugin=SimpleNamespace(train_step_context=contextlib.nullcontext))
    norms = term_shares(trainer, module, batch)
    terms = module.loss_terms(batch)
    assert set(norms) == {name for name in terms if module.loss_weights[name]}
    assert len(norms) > 1
    assert all(0 < norm.item() < float("inf") for norm in norms.values())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_terms_norm_is_that_of_its_gradient_at_the_features(rendered: Path) -> None:
    """SSA without dropout: the hook changes no value, so the norm is that of a plain backward pass."""
    module = module_of("ssa", "model.dropout=0", "model.loss_weights.mask=2").train()
    batch = batch_of(compose("ssa", "smoke"), rendered, 2, Setting())
    trainer: Any = SimpleNamespace(precision_plugin=SimpleNamespace(train_step_context=contextlib.nullcontext))
    norm = term_shares(trainer, module, batch)["mask"]
    kept: list[torch.Tensor] = []
    module.network.reduce.register_forward_hook(lambda _, __, output: kept.append(output))
    (gradient,) = torch.autograd.grad(2 * module.loss_terms(batch)["mask"], kept)
    assert norm.item() == pytest.approx(gradient.norm().item(), rel=1e-4)
