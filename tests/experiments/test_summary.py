"""The table a run ends with."""

import io
from pathlib import Path

from rich.console import Console

from experiments.summary import print_summary


def test_figures_in_percent_and_where_everything_lies():
    stream = io.StringIO()
    report = {
        "paper": "inspose",
        "protocol": "val2017-single-scale",
        "figures": {"AP": 0.6312, "APL": None},
        "train": {"epochs": 1, "best_step": 40},
        "wall_time_s": 75.0,
        "result": str(Path.cwd() / "runs" / "result.json"),
        "pictures": None,
    }
    print_summary(report, Console(file=stream, width=80))
    text = stream.getvalue()
    assert "inspose · val2017-single-scale" in text
    assert "63.1" in text
    assert "–" in text
    assert "best of 1 epoch at step 40, 1:15" in text
    assert "result   runs/result.json" in text
    assert "pictures" not in text
