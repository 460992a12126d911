"""The tables of the five papers against their schema, and what is said of a table that breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from experiments.config import ConfigError, compose, flatten, list_papers, to_plain
from experiments.merging import read_yaml_file
from experiments.tables.loader import TABLES, find_table, list_tables, load_tables
from experiments.tables.overrides import row_overrides
from experiments.tables.table import TableError

CELLS = {"graph_pcnn": 254, "inspose": 194, "openpose_ssal": 68, "ssa": 282, "ssn": 142}
"""Published cells, counted in the papers: none is lost unnoticed, none is added."""
OURS = [
    pytest.param(table, id=f"{paper} {number}")
    for paper in list_tables()
    for number, table in load_tables(paper).items()
]


def test_every_paper_has_its_tables_and_all_their_cells() -> None:
    assert set(list_tables()) == set(CELLS) == set(list_papers()) - {"ssa_refiner"}
    for paper, count in CELLS.items():
        tables = load_tables(paper)
        assert sum(len(row.published) for table in tables.values() for row in table.rows) == count
        assert [table.number for table in tables.values()] == list(tables)
        assert len({table.slug for table in tables.values()}) == len(tables)


@pytest.mark.parametrize("table", OURS)
def test_rows_of_ours_compose_and_differ_under_every_preset(table) -> None:
    assert table.ours
    for preset in (None, "smoke"):
        seen: dict[str, str] = {}
        for row in table.ours:
            run = " ".join(row_overrides(table, row, preset))
            other = table.find(seen.setdefault(run, row.name))
            assert other is row or other.protocol != row.protocol, f"{other.name} and {row.name} are the same run"
    for row in table.ours:
        compose(table.paper, None, row_overrides(table, row, None))


def test_every_backbone_names_its_imagenet_weights_and_resnets_take_those_of_the_papers() -> None:
    configs = [compose(paper) for paper in list_papers()]
    for paper in list_tables():
        tables = load_tables(paper).values()
        configs += [compose(paper, None, row_overrides(table, row, None)) for table in tables for row in table.ours]
    names = {config.model.backbone.name for config in configs if hasattr(config.model, "backbone")}
    assert names == {
        "resnet50.tv_in1k",
        "resnet101.tv_in1k",
        "resnet152.tv_in1k",
        "resnet50_gn.a1h_in1k",
        "hrnet_w32.ms_in1k",
        "hrnet_w48.ms_in1k",
    }


def test_a_cell_under_another_split_than_its_row_names_its_protocol() -> None:
    first = find_table("openpose_ssal", "Table 1")
    assert [(column.figure, column.protocol) for column in first.columns] == [("AP", "minival"), ("AP", "val2017")]
    assert first.rows[0].published == {"AP@minival": 58.4, "AP@val2017": 57.7}
    assert first.protocols["val2017"].flip == "false"


def test_a_preset_wins_over_what_rows_stand_on_and_loses_to_what_they_switch() -> None:
    table = find_table("graph_pcnn", "figure 5b")
    row = table.find("24")
    recipe = compose("graph_pcnn", None, row_overrides(table, row, None))
    assert (recipe.data.crop_size, recipe.model.sigma, recipe.model.num_points) == ([128, 96], 1.0, 24)
    smoke = compose("graph_pcnn", "smoke", row_overrides(table, row, "smoke"))
    assert (smoke.data.crop_size, smoke.data.batch_size, smoke.model.num_points) == ([64, 64], 8, 24)
    silent = compose("graph_pcnn", "smoke", row_overrides(table, table.find("48"), "smoke"))
    assert silent.model.num_points == 48  # the table's own setting, not the preset's 12


@pytest.mark.parametrize(("paper", "name"), [("inspose", "long"), ("ssa", "i800"), ("graph_pcnn", "hrnet")])
def test_named_settings_are_those_of_the_preset_of_that_name(paper: str, name: str) -> None:
    settings = read_yaml_file(TABLES / f"{paper}.yaml")["settings"][name]
    composed = flatten(to_plain(compose(paper, name)))
    assert settings == {key: composed[key] for key in settings}


def test_the_rows_on_test_dev_follow_the_long_schedule() -> None:
    table = find_table("inspose", "5")
    config = compose("inspose", None, row_overrides(table, table.find("InsPose R101, multi-scale"), None))
    assert (config.trainer.max_epochs, config.optimizer.milestones) == (100, [75, 90])
    table = find_table("ssa", "1")
    config = compose("ssa", None, row_overrides(table, table.find("res101, i800"), None))
    assert (config.data.size, config.optimizer.lr, config.optimizer.reference_batch) == (800, 1e-4, 8)


def test_names_are_found_or_the_nearest_is_named() -> None:
    assert find_table("inspose", "table 1").find("disk-offset-plus-heatmap").name == "disk offset + heatmap"
    assert find_table("graph_pcnn", "figure-5a").label == "Figure 5a"
    with pytest.raises(TableError, match="inspose has no table '9' \\(tables: 1, 2, 3, 4, 5\\)"):
        find_table("inspose", "9")
    with pytest.raises(TableError, match="no row 'disk ofset'; did you mean disk offset\\?"):
        find_table("inspose", "1").find("disk ofset")
    with pytest.raises(TableError, match="no tables of paper 'insposse'; did you mean inspose"):
        load_tables("insposse")
    table = find_table("inspose", "5")
    with pytest.raises(ConfigError, match="another system's"):
        row_overrides(table, table.rows[0], None)


GOOD = {
    "paper": "inspose",
    "protocols": {"val": {"split": "val2017", "boxes": "none", "flip": False, "scales": "single", "schedule": "x"}},
    "settings": {"long": {"trainer.max_epochs": 100}},
    "tables": {
        "1": {
            "title": "One",
            "protocol": "val",
            "baseline": "a",
            "columns": ["AP", "seconds"],
            "rows": [
                {"row": "a", "set": {"model.heatmap": False}, "published": {"AP": 60.3, "seconds": "> 0.65"}},
                {"row": "theirs", "published": {"AP": 1.0}},
            ],
        }
    },
}
BREAKS = {
    "tables.1.rows.0.publishd={}": "table 1: row 'a': no key 'publishd'; did you mean published?",
    "tables.1.rows.0.published.AP=fifty": "table 1: row 'a': AP is 'fifty', neither a number nor a bound",
    "tables.1.rows.0.published.AP=true": "table 1: row 'a': AP is True, neither",
    "tables.1.rows.0.published.AP50=1": "table 1: row 'a': 'AP50' is no column of the table",
    "tables.1.rows.0.protocol=vall": "table 1: row 'a': no protocol 'vall'; did you mean val?",
    "tables.1.rows.0.recipe=[lng]": "table 1: row 'a': no settings 'lng'; did you mean long?",
    "tables.1.rows.0.set={heatmap: true}": "table 1: row 'a': 'heatmap' is no full key, as model.heatmap",
    "tables.1.rows.1.published={}": "row 'theirs': has neither switches nor published cells",
    "tables.1.rows.1.row=a": "table 1: rows share the name a",
    "tables.1.rows.1.row=A": "table 1: rows share the slug a",
    "tables.1.baseline=b": "table 1: baseline 'b' is no row of it",
    "tables.1.columns=[AP, mAP]": "table 1: 'mAP' is no figure",
    "tables.1.columns=[AP, AP@minival]": "table 1: column 'AP@minival' names no protocol",
    "tables.1.rows=5": "table 1: rows is 5",
    "protocols.val.flip=3": "protocol val: flip is 3",
    "paper=ssn": "paper is 'ssn', not the file's 'inspose'",
}


@pytest.mark.parametrize("change", BREAKS)
def test_a_broken_table_is_told_in_one_line(change: str, tmp_path: Path) -> None:
    content = yaml.safe_load(yaml.safe_dump(GOOD))
    file = tmp_path / "inspose.yaml"
    file.write_text(yaml.safe_dump(content))
    assert load_tables("inspose", tmp_path)["1"].rows[0].published["seconds"] == "> 0.65"
    path, _, value = change.partition("=")
    *parents, last = path.split(".")
    place = content
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    place[last] = yaml.safe_load(value)
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(TableError) as error:
        load_tables("inspose", tmp_path)
    assert BREAKS[change] in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_protocols_bear_the_names_of_our_own_evaluations():
    from experiments.config import compose
    from experiments.evaluation.protocol import protocol_name

    det = ["data.root=/coco", "data.detections.file=boxes.json"]
    for paper, protocol, overrides in (
        ("inspose", "minival", ["data.root=/coco"]),
        (
            "inspose",
            "test-dev-multi-scale",
            ["data.root=/coco", "data.val_split=test-dev2017", "model.scales=[400, 800]"],
        ),
        ("ssn", "val", det),
        ("graph_pcnn", "val", det),
        ("ssa", "val", ["data.root=/coco"]),
        ("openpose_ssal", "val2017", ["data.root=/coco"]),
    ):
        config = compose(paper, None, overrides)
        images = 20_288 if config.data.val_split == "test-dev2017" else 5000
        (table, *_) = load_tables(paper).values()
        assert table.protocols[protocol].name_of_ours == protocol_name(config, images)
