import json
from pathlib import Path

import pytest
import torch

from datamodules.contracts import Meta, Persons, PoseBatch, Predictions
from datamodules.skeleton import COCO
from experiments.oracle import Errors, main


def run(root: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict:
    code = main(["--paper", "inspose", f"data.root={root}", "data.num_workers=0", "data.size=128", "--json", *more])
    assert code == 0
    return json.loads(capsys.readouterr().out)


def test_disk_offsets_lift_the_ceiling(tiny_coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(tiny_coco, capsys, "data.val_batch_size=7")
    assert (report["paper"], report["images"]) == ("inspose", 7)
    rows = {row["row"]: row for row in report["rows"]}
    for stride in (16, 8, 4, 2):
        assert rows[f"1/{stride}, disk offsets"]["AP"] > rows[f"1/{stride}, cell centres"]["AP"] - 1e-9
    # 64 px photographs at 128: a cell of stride 8 is 4 px wide, 0.3826 of it is the mean distance to its centre
    assert rows["1/8, cell centres"]["mean_error_px"] == pytest.approx(0.3826 * 4, rel=0.15)
    assert rows["1/2, cell centres"]["AP"] > rows["1/16, cell centres"]["AP"] + 0.1
    assert rows["1/8, disk offsets, no suppression"]["found"] == 1.0


def test_progress_is_on_stderr_but_not_with_json(
    tiny_coco: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.progress.LOG_SECONDS", 0.0)
    given = [
        "--paper",
        "inspose",
        f"data.root={tiny_coco}",
        "data.num_workers=0",
        "data.size=64",
        "data.val_batch_size=4",
    ]
    assert main(given) == 0
    captured = capsys.readouterr()
    lines = [line.partition(" samples")[0] for line in captured.err.splitlines()]
    assert lines == ["decoding  4/7", "decoding  7/7"]
    assert "decoding" not in captured.out
    assert main([*given, "--json"]) == 0
    assert "decoding" not in capsys.readouterr().err


def batch_of(keypoints: torch.Tensor, visibility: torch.Tensor) -> PoseBatch:
    """One image at twice its photograph's size."""
    persons = Persons(
        keypoints * 2,
        visibility,
        torch.zeros(1, keypoints.shape[1], 4),
        torch.full((1, keypoints.shape[1]), 4 * 50.0**2),
        torch.ones(1, keypoints.shape[1], dtype=torch.bool),
    )
    hw, one = torch.tensor([[200, 200]]), torch.zeros(1, dtype=torch.int64)
    meta = Meta(one, one, hw, hw, torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]]), torch.ones(1))
    return PoseBatch(torch.zeros(1, 3, 200, 200), persons, torch.zeros(1, 50, 50).bool(), None, meta)


def test_errors_match_people_by_oks_and_count_labelled_keypoints() -> None:
    torch.manual_seed(0)
    truth = torch.rand(1, 3, 17, 2) * 50
    visibility = torch.full((1, 3, 17), 2, dtype=torch.uint8)
    visibility[0, 2] = 0  # a person without labels is nobody
    visibility[0, 0, 5] = 0
    decoded = truth[:, [1, 0]] + torch.tensor([3.0, 4.0]) * torch.tensor([0.2, 0.1])[None, :, None, None]
    decoded[0, 1, 5] = 1e6  # not labelled, not counted
    keypoints = torch.cat([decoded, torch.ones(1, 2, 17, 1)], dim=-1)
    predictions = Predictions(
        keypoints, torch.ones(1, 2), torch.ones(1, 2).bool(), torch.zeros(1).long(), torch.zeros(1).long()
    )
    errors = Errors(COCO)
    errors.update(batch_of(truth, visibility), predictions)
    found = errors.compute()
    assert found["found"] == 1.0
    assert found["mean_error_px"] == pytest.approx((17 * 1.0 + 16 * 0.5) / 33, rel=1e-5)


def test_nobody_found_is_none_not_zero() -> None:
    empty = Predictions(
        torch.zeros(1, 0, 17, 3),
        torch.zeros(1, 0),
        torch.zeros(1, 0).bool(),
        torch.zeros(1).long(),
        torch.zeros(1).long(),
    )
    errors = Errors(COCO)
    errors.update(batch_of(torch.rand(1, 1, 17, 2), torch.full((1, 1, 17), 2, dtype=torch.uint8)), empty)
    assert errors.compute() == {"mean_error_px": None, "found": 0.0}


def test_mistakes_are_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--paper", "inspose", f"data.root={tmp_path}"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(tmp_path) in message
