from rich.console import Console

from experiments.summary import print_summary


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
    console = Console(record=True, width=80, file=open("/dev/null", "w"))  # noqa: SIM115
    print_summary(report, console)
    keypoints, masks = console.export_text().split("val2017")[1:]
    assert "50.4" in keypoints
    assert "20.7" not in keypoints
    assert masks.split()[:2] == ["·", "segm"]
    assert "20.7" in masks
