import json

import pytest

from experiments.complexity import main


def test_all_ten_rows_are_the_papers(capsys):
    assert main(["--paper", "ssn", "--json"]) == 0
    rows = {row["row"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert len(rows) == 10
    for row in rows.values():
        assert round(row["parameters"] / 1e6, 1) == round(row["published"]["parameters"] / 1e6, 1), row
        assert row["macs"] == pytest.approx(row["published"]["macs"], rel=0.02), row
    assert rows["Backbone"]["parameters"] == 25_112_264
    assert rows["SSN"]["parameters"] == 40_496_750
    # convolutions alone: 13,170,069,504
    assert rows["SSN"]["macs"] - rows["SSN, w/o shifting"]["macs"] == 4 * shifted_values()


def shifted_values() -> int:
    """K·h·w of the 13 modules at 256×192; an FSM before a strided block works at the finer resolution."""
    maps = [(256, 3072), *[(512, 3072)] * 3, *[(512, 768)] * 3, *[(512, 192)] * 5, (512, 48)]
    return sum(channels * cells for channels, cells in maps)
