"""The tables put the published figures, and the difference, beside the figures they belong to."""

import io

from rich.console import Console

from experiments.evaluation.table import print_comparison, print_report

REPORT = {
    "paper": "graph_pcnn",
    "protocol": "val2017-single-scale-flip-det-boxes",
    "images": 5000,
    "predictions": "predictions.json",
    "note": "published with boxes of: detector, 56.4 AP",
    "stages": {
        "stage1": {"AP": 0.7, "AP50": 0.8, "APL": None},
        "stage2": {"AP": 0.7312, "AP50": 0.81, "APL": 0.5, "segm/AP": 0.2},
    },
    "published": [
        {"label": "Table 1, A", "figures": {"stage1/AP": 71.3, "AP": 72.6, "segm/AP": 20.7}, "boxes": ""},
        {"label": "Table 4, B", "figures": {"AP": 72.6, "APL": 79.7}, "boxes": ""},
    ],
}


def printed(show, report):
    console = Console(file=io.StringIO(), width=160, highlight=False)
    show(report, console)
    return console.file.getvalue()


def cells(text, name):
    """Of each table the cells behind this row's name."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    return [row[1:] for row in rows if row[0] == name]


def test_stages_and_published_rows_stand_side_by_side():
    text = printed(print_report, REPORT)
    keypoints, masks = cells(text, "AP")
    #                    ours            Table 1, stage 1   Table 1, stage 2   Table 4
    assert keypoints == ["70.0", "73.1", "71.3", "-1.3", "72.6", "+0.5", "72.6", "+0.5"]
    assert cells(text, "APL") == [["–", "50.0", "", "", "", "", "79.7", "-29.7"]]
    assert masks == ["20.0", "20.7", "-0.7"]  # the first stage has none
    assert "val2017-single-scale-flip-det-boxes · 5000 images" in text
    assert "published with boxes of: detector, 56.4 AP" in text


def test_what_is_not_scored_is_said():
    report = {**REPORT, "submission": "x.zip", "people": 12}
    del report["stages"]
    text = printed(print_report, report)
    assert "12 people; not scored here" in text
    assert "submission  x.zip" in text


def test_a_difference_that_may_be_luck_is_called_so():
    report = {"files": ["a.json", "b.json"], "first": 0.5, "second": 0.51, "difference": 0.01, "better": 0.8}
    report |= {"low": -0.002, "high": 0.02, "confidence": 0.95, "resamples": 1000}
    text = printed(print_comparison, report)
    assert "difference +1.00, 95% interval [-0.20, +2.00]; the second is better in 80% of the resamples" in text
    assert "do not tell which is better" in text
    assert "do not tell" not in printed(print_comparison, {**report, "low": 0.002})
