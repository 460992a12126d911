"""Whose row a run is, means over seeds, and what may never stand in one column."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from experiments import config
from experiments.config import compose, scientific, to_plain
from experiments.merging import ConfigError
from experiments.reports.collect import Figure, MixedProtocols, ReportTable, collect, row_settings
from experiments.reports.layout import lay_out
from experiments.reports.store import read_runs
from experiments.tables.loader import find_table, list_tables, load_tables
from experiments.tables.overrides import row_overrides

VAL = "val2017-single-scale"


@pytest.fixture
def store(toy_table: Any, tmp_path: Path):
    """``store("near", seed, AP, …)`` writes the result of a run and returns its folder."""
    count = 0

    def add(
        row: str | None,
        seed: int,
        ap: float | None,
        *more: str,
        protocol: str = VAL,
        preset: str | None = None,
        group: bool = True,
    ) -> Path:
        nonlocal count
        count += 1
        table = find_table("toy", "1")
        own = row_overrides(table, table.find(row), preset) if row else []
        named = [f"wandb.group=toy/table1/{table.find(row).slug}"] if group and row else []
        config = to_plain(compose("toy", preset, [*own, *more, f"seed={seed}", *named]))
        folder = tmp_path / "runs" / "deep" / "toy" / f"run{count}"
        folder.mkdir(parents=True)
        figures = {"AP": ap, "AP50": None if ap is None else ap + 0.1}
        content = {"paper": "toy", "protocol": protocol, "figures": figures, "config": config, "train": {}}
        (folder / "result.json").write_text(json.dumps(content))
        os.utime(folder / "result.json", (count, count))
        return folder

    def collected(weights: str = "best", **keep: Any) -> ReportTable:
        return collect(find_table("toy", "1"), read_runs(tmp_path / "runs", weights), **keep)

    add.collect = collected
    add.root = tmp_path / "runs"
    return add


def test_mean_and_deviation_over_seeds_and_the_difference_to_the_baseline(store: Any) -> None:
    for seed, ap in enumerate((0.50, 0.52, 0.57)):
        store("near", seed, ap)
    store("far away", 0, 0.49)
    store("far away", 0, 0.48)  # the same seed again: the newest counts, once
    report = store.collect()
    near, far, others = report.rows
    assert near.ours["AP"].n == 3
    assert near.ours["AP"].mean == pytest.approx(53.0)
    assert near.ours["AP"].std == pytest.approx(((3**2 + 1**2 + 4**2) / 2) ** 0.5)
    assert far.ours["AP"] == Figure(48.0, None, 1)
    assert others.ours == {}

    layout = lay_out(report)
    assert layout.ours_head == f"ours · {VAL}"
    assert layout.published_head == "published · val"
    assert [row.name for row in layout.rows] == ["near", "far away", "somebody else's"]
    assert [row.published for row in layout.rows] == [
        ("61.50", "80.0"),
        ("60.25 (-1.25)", "–"),
        ("50.00 (-11.50)", "> 70.5"),
    ]
    assert [row.ours for row in layout.rows] == [
        ("53.0 ± 3.6", "63.0 ± 3.6"),
        ("48.0 (-5.0)", "58.0 (-5.0)"),
        ("–", "–"),
    ]
    assert [row.state for row in layout.rows] == ["3 seeds", "1 seed", ""]
    assert layout.warnings == ()


def test_a_run_by_hand_counts_if_it_has_exactly_the_settings_of_a_row(store: Any) -> None:
    store("near", 0, 0.5, "data.root=/elsewhere", group=False)
    store("near", 1, 0.6, "optimizer.lr=0.1", group=False)  # another experiment
    store(None, 0, 0.7, "model.start=5.0")  # no row's
    report = store.collect()
    assert report.rows[0].ours["AP"] == Figure(50.0, None, 1)
    assert report.rows[1].ours == {}
    assert lay_out(report).rows[1].state == "not run"


def test_the_last_weights_stand_beside_the_best_and_can_be_shown(store: Any) -> None:
    file = store("near", 0, 0.6) / "result.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "last": {"step": 9, "figures": {"AP": 0.5, "AP50": None}}}))
    best, last = (store.collect(weights=weights) for weights in ("best", "last"))
    assert (best.rows[0].ours["AP"].mean, last.rows[0].ours["AP"].mean) == pytest.approx((60.0, 50.0))
    assert "ours, best weights; with the last weights: near AP 50.0" in lay_out(best).notes
    assert "last weights" in lay_out(last).ours_head
    assert any("with the best weights: near AP 60.0" in note for note in lay_out(last).notes)
    store("far away", 0, 0.4)  # a result of an earlier version, which has no last weights
    assert store.collect(weights="last").rows[1].ours == {}


def test_what_is_begun_is_not_a_result(store: Any) -> None:
    folder = store("near", 0, 0.5)
    (folder / "result.json").unlink()
    (folder / "run.json").write_text('{"state": "interrupted"}')
    (folder / "config.yaml").write_text("paper: toy\nwandb:\n  group: toy/table1/near\n")
    (folder.parent / "broken").mkdir()
    (folder.parent / "broken" / "result.json").write_text("{")
    report = store.collect()
    assert report.rows[0].ours == {}
    assert lay_out(report).rows[0].state == "interrupted: run1"
    assert lay_out(report).ours_head == "ours · no finished run"
    store("far away", 0, 0.5, preset="brief")  # of another preset than what is begun
    assert lay_out(store.collect()).rows[0].state == "not run"


def test_figures_that_do_not_exist_are_left_out(store: Any) -> None:
    store("near", 0, None)
    store("near", 1, 0.25)
    assert store.collect().rows[0].ours["AP"] == Figure(25.0, None, 1)


def test_protocols_presets_and_settings_never_mix_and_can_be_chosen(store: Any) -> None:
    store("near", 0, 0.5)
    store("far away", 0, 0.4, protocol="rendered-val-3-images-single-scale")
    with pytest.raises(MixedProtocols) as error:
        store.collect()
    assert str(error.value) == (
        "Table 1 of toy has runs that cannot stand in one column: rendered-val-3-images-single-scale, recipe (1 run); "
        "val2017-single-scale, recipe (1 run); choose with --protocol NAME or --preset NAME"
    )
    chosen = store.collect(keep=lambda result: result.protocol.startswith("rendered"))
    assert chosen.rows[0].ours == {}
    assert chosen.rows[1].ours["AP"].mean == 40
    assert "RENDERED PEOPLE, not COCO" in lay_out(chosen).warnings[0]


def test_another_protocol_than_the_published_is_said_above_the_table(store: Any) -> None:
    store("near", 0, 0.5, protocol="val2017-single-scale-flip-gt-boxes")
    (warning,) = lay_out(store.collect()).warnings
    assert warning.startswith("OURS ARE OF val2017-single-scale-flip-gt-boxes, the published of val2017-single-scale:")


def test_two_presets_are_two_experiments(store: Any) -> None:
    store("near", 0, 0.5)
    store("near", 0, 0.4, preset="brief")
    with pytest.raises(MixedProtocols, match=r"val2017-single-scale, brief .1 run.; val2017-single-scale, recipe"):
        store.collect()


def test_settings_beside_the_rows_must_be_the_same_in_all_and_are_told(store: Any) -> None:
    store("near", 0, 0.5, "trainer.max_epochs=1")
    store("far away", 0, 0.4, "trainer.max_epochs=1")
    report = store.collect()
    assert report.changes == {"trainer.max_epochs": 1}
    assert "ours depart from their rows in trainer.max_epochs=1" in lay_out(report).notes
    store("far away", 1, 0.4)
    with pytest.raises(MixedProtocols, match=r"trainer.max_epochs is 1 in some, 3 in others; choose with"):
        store.collect()


def test_rows_the_paper_itself_measures_otherwise_may_differ_and_are_marked(tmp_path: Path) -> None:
    table = find_table("inspose", "5")
    for number, (name, protocol) in enumerate(
        (("InsPose R50", VAL), ("InsPose R50, multi-scale", "val2017-multi-scale"))
    ):
        row = table.find(name)
        config = to_plain(compose("inspose", None, [*row_overrides(table, row, None)]))
        folder = tmp_path / str(number)
        folder.mkdir()
        content = {"paper": "inspose", "protocol": protocol, "figures": {"AP": 0.6 + 0.01 * number}, "config": config}
        (folder / "result.json").write_text(json.dumps(content))
    layout = lay_out(collect(table, read_runs(tmp_path)))
    cells = {row.name: row.ours[0] for row in layout.rows if row.is_ours}
    assert sorted(cells.items())[:4] == [
        ("InsPose HRNet-W32", "–"),
        ("InsPose HRNet-W32, multi-scale [b]", "–"),
        ("InsPose R101", "–"),
        ("InsPose R101, multi-scale [b]", "–"),
    ]
    assert {cells["InsPose R50"], cells["InsPose R50, multi-scale [b]"]} in ({"60.0", "61.0 *"}, {"60.0 *", "61.0"})
    assert any(note.startswith("* ours: val2017-") for note in layout.notes)


@pytest.mark.parametrize("preset", [None, "smoke"])
def test_settings_without_composing_are_those_of_composing(preset: str | None) -> None:
    for paper in list_tables():
        table = next(iter(load_tables(paper).values()))
        for row in table.ours[:4]:
            composed = scientific(to_plain(compose(paper, preset, row_overrides(table, row, preset))))
            assert row_settings(table, row, preset) == composed


def test_a_value_of_another_kind_is_composed(toy_table: Any) -> None:
    table = find_table("toy", "1")
    row = table.find("near")
    row = row._replace(settings={**row.settings, "optimizer.lr": "1e-1"})
    assert row_settings(table, row, None)["optimizer.lr"] == 0.1
    with pytest.raises(ConfigError, match=r"optimizer\.lx"):
        row_settings(table, row._replace(settings={"optimizer.lx": 1.0}), None)


def test_a_row_that_sets_what_the_recipe_has_is_not_composed(toy_table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = find_table("toy", "1")
    row, recipe = table.find("near"), scientific(to_plain(compose("toy")))
    same = {key: value for key, value in recipe.items() if value is None or value == []}
    assert None in same.values()
    expected = row_settings(table, row, None)
    monkeypatch.setattr(config, "compose", lambda *given: pytest.fail(f"composed {given}"))
    assert row_settings(table, row._replace(settings={**row.settings, **same}), None) == expected


def test_one_walk_finds_the_runs_of_all_papers(store: Any) -> None:
    store("near", 0, 0.5)
    begun = store.root / "begun"
    begun.mkdir()
    (begun / "run.json").write_text('{"state": "running"}')
    (begun / "config.yaml").write_text("paper: other\npreset: null\n")
    runs = read_runs(store.root)
    assert [result.seed for result in runs.results["toy"]] == [0]
    assert [(run.directory, run.preset, run.state) for run in runs.unfinished["other"]] == [(begun, None, "running")]
    assert runs.results.keys() == {"toy"}
