"""Settings without effect are found before training, and what is shipped has none."""

from __future__ import annotations

from typing import Any

import pytest

from experiments.config import compose, list_papers, list_presets
from experiments.no_ops import find_no_ops
from experiments.tables.loader import list_tables, load_tables
from experiments.tables.overrides import row_overrides
from losses.progressive_direction import SCHEDULES, stage_factors


@pytest.mark.parametrize(
    ("paper", "overrides", "keys", "why"),
    [
        ("inspose", ["model.heatmap=false", "model.heatmap_channels=64"], "model.heatmap_channels=64", "heatmap=false"),
        ("inspose", ["optimizer.schedule=cosine", "optimizer.milestones=[3]"], "milestones=[3.0]", "schedule=cosine"),
        ("graph_pcnn", ["model.refinement=none", "model.shuffle=false"], "model.shuffle=False", "refinement=none"),
        ("ssa", ["model.decode.refiner=x.ckpt"], "model.decode.refiner=x.ckpt", "model.decode.refinement=none"),
        (
            "ssn",
            ["model.feature_shift.enabled=false", "model.feature_shift.channels=64"],
            "model.feature_shift.channels=64",
            "model.feature_shift.enabled=false",
        ),
        (
            "openpose_ssal",
            ["model.network.stages=2", "model.pdd_schedule=linear"],
            "model.pdd_schedule=linear",
            "model.network.stages=2 (linear, quadratic_a and quadratic_b are equal)",
        ),
    ],
)
def test_a_changed_setting_without_effect_is_named(paper: str, overrides: Any, keys: str, why: str) -> None:
    lines = find_no_ops(compose(paper, None, overrides))
    assert len(lines) == 1
    assert keys in lines[0]
    assert lines[0].endswith(f"{why}; leave it out")


def test_the_switch_alone_is_no_mistake() -> None:
    assert find_no_ops(compose("graph_pcnn", None, ["model.refinement=none"])) == []
    assert find_no_ops(compose("ssn", None, ["model.feature_shift.enabled=false"])) == []


def test_schedules_are_equal_at_the_stages_that_the_check_names() -> None:
    for stages in range(1, 9):
        kinds = {stage_factors(name, stages) for name in SCHEDULES}
        assert len(kinds) == {1: 1, 2: 2}.get(stages, 4), stages


@pytest.mark.parametrize("paper", list_papers())
def test_no_preset_sets_what_has_no_effect(paper: str) -> None:
    found = {preset: find_no_ops(compose(paper, preset)) for preset in [None, *list_presets(paper)]}
    assert {preset: lines for preset, lines in found.items() if lines} == {}


@pytest.mark.parametrize("paper", list_tables())
def test_no_row_sets_what_has_no_effect(paper: str) -> None:
    found = {
        f"{table.label}, {row.name}": find_no_ops(compose(paper, None, row_overrides(table, row, None)))
        for table in load_tables(paper).values()
        for row in table.ours
    }
    assert {row: lines for row, lines in found.items() if lines} == {}
