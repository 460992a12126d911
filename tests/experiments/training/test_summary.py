"""The table a run ends with."""

import io
from pathlib import Path

from rich.console import Console

from datamodules.evaluator import FIGURES
from experiments.training.summary import print_summary


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
    text = " ".join(stream.getvalue().split())
    assert "inspose · val2017-single" in text  # the title is as narrow as its table
    assert "63.1" in text
    assert "–" in text
    assert "best of 1 epoch at step 40, 1:15" in text
    assert "result runs/result.json" in text
    assert "pictures" not in text


def test_mask_figures_have_a_table_of_their_own() -> None:
    report = {
        "paper": "ssa",
        "protocol": "val2017",
        "figures": {"AP": 0.504, "APL": None, "segm/AP": 0.207},
        "train": {"epochs": 2, "best_step": 5},
        "wall_time_s": 16,
        "result": "/somewhere/result.json",
        "pictures": None,
    }
    console = Console(record=True, width=80, file=io.StringIO())
    print_summary(report, console)
    keypoints, masks = console.export_text().split("val2017")[1:]
    assert "50.4" in keypoints
    assert "20.7" not in keypoints
    assert masks.split()[:2] == ["·", "segm"]
    assert "20.7" in masks


def test_distances_are_pixels_and_the_table_fits_a_terminal() -> None:
    report = {
        "paper": "graph_pcnn",
        "protocol": "val2017-flip-gt-boxes",
        "figures": {
            **dict.fromkeys(FIGURES, 0.5),
            "mean_distance_px": 3.218,
            "stage1/AP": 0.4,
            "stage1/mean_distance_px": None,
        },
        "train": {"epochs": 2, "best_step": 5},
        "wall_time_s": 16,
        "result": None,
        "pictures": None,
    }
    stream = io.StringIO()
    print_summary(report, Console(file=stream, width=80))
    _, last, first = stream.getvalue().split("AP_gt")
    assert "…" not in last
    assert last.split().count("(px)") == 1
    assert [word for word in last.split() if "." in word and word[0].isdigit()] == ["50.0"] * 10 + ["3.22"]
    assert "40.0" in first
    assert "–" in first
