"""What a paper shows over a picture is what its network says: the place of the maximum, and the range."""

from typing import Any

import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch
from datamodules.skeleton import COCO
from experiments.config import compose
from lightning_modules.papers import PAPERS, load
from lightning_modules.shared.inference_form import inference_form

SOMEBODY = {
    "inspose": ["model.score_threshold=0.0"],
    "ssa": ["model.decode.candidate_threshold=0.0", "model.decode.attraction_threshold=0.0"],
    "ssn": ["model.feature_shift.insert_step=0"],
}
"""With these a network with random weights finds people, and has all its parts."""


def module_of(paper: str) -> Any:
    config = compose(paper, "smoke", SOMEBODY.get(paper))
    torch.manual_seed(0)
    return load(PAPERS[paper].module)(config.model, config.optimizer, COCO).eval()


def batch(height: int = 64, width: int = 96) -> PoseBatch:
    one = torch.zeros(2, dtype=torch.int64)
    hw = torch.tensor([[height, width]] * 2)
    return PoseBatch(
        torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1)),
        Persons(
            torch.zeros(2, 1, 17, 2),
            torch.zeros(2, 1, 17, dtype=torch.uint8),
            torch.zeros(2, 1, 4),
            torch.zeros(2, 1),
            torch.ones(2, 1, dtype=torch.bool),
        ),
        torch.zeros(2, height // 4, width // 4, dtype=torch.bool),
        None,
        Meta(one, one, hw, hw, torch.eye(3)[:2].expand(2, 2, 3), torch.ones(2)),
    )


@pytest.mark.parametrize("paper", ["inspose", "ssn", "graph_pcnn", "ssa", "openpose_ssal"])
@torch.no_grad()
def test_every_map_covers_the_input_within_its_range(paper: str) -> None:
    module, given = module_of(paper), batch()
    for name, overlay in load(f"lightning_modules.{paper}.overlays:OVERLAYS").items():
        maps = overlay(module, given)
        assert maps.shape[:2] == (2, 2 if name == "paf" else 1), name
        assert maps.shape[2] * 96 == maps.shape[3] * 64, name
        strength = maps.norm(dim=1)
        highest = module.network(given.images).class_logits.sigmoid().amax(1) if paper == "inspose" else torch.ones(2)
        torch.testing.assert_close(strength.flatten(1).amax(1), highest)
        if name != "paf":
            assert maps.min() >= 0, name


@pytest.mark.parametrize("paper", ["ssn", "graph_pcnn", "ssa", "openpose_ssal"])
@torch.no_grad()
def test_heat_is_highest_where_the_networks_heatmap_is(paper: str) -> None:
    module, given = module_of(paper), batch()
    output = module.network(given.images)
    heatmaps = output.heatmaps[-1, :, :-1] if paper == "openpose_ssal" else output.heatmap_s4
    maps = load(f"lightning_modules.{paper}.overlays:heatmap")(module, given)
    assert torch.equal(maps.flatten(1).argmax(1), heatmaps.amax(1).flatten(1).argmax(1))


@torch.no_grad()
def test_the_longest_field_points_as_its_limb_does() -> None:
    module, given = module_of("openpose_ssal"), batch()
    fields = module.network(given.images).pafs[-1, 0]
    shown = load("lightning_modules.openpose_ssal.overlays:paf")(module, given)[0]
    limb = int(fields[:, :, 3, 5].norm(dim=1).argmax())
    longest = fields.norm(dim=1).max()
    torch.testing.assert_close(shown[:, 3, 5], fields[limb, :, 3, 5] / longest)


@torch.no_grad()
def test_attention_is_seen_in_the_form_that_predict_asks() -> None:
    config = compose("ssn", "smoke", ["model.feature_shift.insert_step=0"])
    module = load(PAPERS["ssn"].module)(config.model, config.optimizer, COCO).eval()
    attention = load("lightning_modules.ssn.overlays:attention")
    expected = attention(module, batch())
    module.network = inference_form(module.network)
    torch.testing.assert_close(attention(module, batch()), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_without_attention_that_takes_part_nothing_is_invented() -> None:
    config = compose("ssn", "smoke", ["model.feature_shift.correlation_attention=none"])
    module = load(PAPERS["ssn"].module)(config.model, config.optimizer, COCO).eval()
    with pytest.raises(ValueError, match="no feature shifting module of this checkpoint attends"):
        load("lightning_modules.ssn.overlays:attention")(module, batch())


@torch.no_grad()
def test_nobody_found_shows_nothing() -> None:
    module = module_of("inspose")
    module.config.score_threshold = 1.0
    maps = load("lightning_modules.inspose.overlays:dynamic_filters")(module, batch())
    assert maps.shape == (2, 1, 8, 12)
    assert not maps.any()
