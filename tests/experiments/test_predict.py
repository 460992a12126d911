"""The command: what it refuses, what it reports, what it leaves behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from datamodules.config import DataConfig
from datamodules.skeleton import COCO
from experiments.checkpoint import Trained
from experiments.predict import _batch_size, main
from experiments.schema import RunConfig


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two images and a video of five frames."""
    folder = tmp_path / "in"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), generator.integers(0, 256, (40, 56, 3), dtype=np.uint8))
    writer = cv2.VideoWriter(str(folder / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (48, 32))
    for _ in range(5):
        writer.write(generator.integers(0, 256, (32, 48, 3), dtype=np.uint8))
    writer.release()
    return folder


def test_one_person_a_picture_with_heat_and_a_corrupt_file_left_out(
    write_checkpoint: Callable[..., Path], pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8 not much of a photograph")
    file = write_checkpoint("ssn")
    arguments = ["--checkpoint", str(file), str(pictures), "--whole-image", "--min-score", "-1", "--json"]
    plain, shown = tmp_path / "plain", tmp_path / "shown"
    assert main([*arguments, "--out", str(plain)]) == 1
    report = json.loads(capfd.readouterr().out)
    assert (report["exit_code"], report["images"], report["people"], report["drawn"]) == (1, 7, 7, 7)
    (fault,) = report["faults"]
    assert "broken.jpg" in fault
    assert report["images_per_s"] == pytest.approx(7 / report["seconds"])
    assert {file.name for file in plain.iterdir()} == {"a.jpg", "b.jpg", "clip.mp4", "predictions.json", "images.json"}
    assert len(json.loads((plain / "predictions.json").read_text())) == 7
    assert main([*arguments, "--out", str(shown), "--show", "heatmap"]) == 1
    capfd.readouterr()
    assert (cv2.imread(str(shown / "a.jpg")) != cv2.imread(str(plain / "a.jpg"))).any()
    assert (shown / "predictions.json").read_text() == (plain / "predictions.json").read_text()


def test_of_many_files_that_cannot_be_used_ten_are_named(
    write_checkpoint: Callable[..., Path], pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(25):
        (pictures / f"broken{number}.jpg").write_bytes(b"no photograph")
    arguments = ["--checkpoint", str(write_checkpoint("ssn")), str(pictures), "--whole-image", "--out", str(tmp_path)]
    assert main(arguments) == 1
    err = capfd.readouterr().err
    assert err.count("broken") == 10 + 10  # as they come, and together at the end
    assert err.endswith("… and 15 more\n")
    assert main([*arguments, "--json"]) == 1
    assert len(json.loads(capfd.readouterr().out)["faults"]) == 25


def test_frames_may_be_limited_and_boxes_that_name_nothing_are_told(
    write_checkpoint: Callable[..., Path], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_checkpoint("ssn")
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"file_name": "clip.avi#1", "bbox": [2, 2, 20, 25]}]))
    arguments = ["--checkpoint", str(file), str(pictures / "clip.avi"), "--out", str(tmp_path), "--limit", "3"]
    assert main([*arguments, "--boxes", str(boxes), "--min-score", "7"]) == 0
    assert "1 person in 3 images, " in (told := capsys.readouterr().out)
    assert ", 0 drawn (--min-score 7); " in told
    assert [entry["frame"] for entry in json.loads((tmp_path / "images.json").read_text())] == [0, 1, 2]
    assert [entry["image_id"] for entry in json.loads((tmp_path / "predictions.json").read_text())] == [2]
    boxes.write_text(json.dumps([{"image_id": 900, "bbox": [2, 2, 20, 25]}]))
    assert main([*arguments, "--boxes", str(boxes)]) == 1
    assert "none of the pictures is named by its keys, such as 900" in capsys.readouterr().err


def test_what_cannot_be_meant_is_refused_in_one_line(
    write_checkpoint: Callable[..., Path], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ssn, inspose = write_checkpoint("ssn"), write_checkpoint("inspose")
    image = str(pictures / "a.png")
    out = ["--out", str(tmp_path / "out")]
    for arguments, line in (
        ([str(ssn), image], "ssn looks at one person at a time: give --boxes FILE"),
        ([str(inspose), image, "--whole-image"], "inspose finds people itself"),
        ([str(inspose), "none.jpg"], "none.jpg: no such file"),
        ([str(tmp_path / "none.ckpt"), image], "no such file"),
        ([str(inspose), image, "--show", "paf"], "--show paf: inspose can show dynamic_filters"),
        ([str(inspose), image, "--device", "cuda:77"], "--device cuda:77"),
        ([str(inspose), image, "--set", "model.nothing=1"], "model.nothing: no such key"),
        ([str(ssn), image, "--boxes", str(tmp_path / "none.json")], "correct --boxes"),
    ):
        assert main(["--checkpoint", *arguments, *out]) == 2, arguments
        error = capsys.readouterr().err
        assert line in error
        assert error.count("\n") == 1
    shutil.copy(image, tmp_path / "a.jpg")
    assert main(["--checkpoint", str(inspose), str(tmp_path / "a.jpg"), "--out", str(tmp_path)]) == 2
    assert "would be overwritten" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_done(
    write_checkpoint: Callable[..., Path], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.prediction.people import Estimator

    calls = []
    compute = Estimator.compute

    def interrupted(self: Estimator, batch: Any) -> list:
        calls.append(batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(self, batch)

    monkeypatch.setattr(Estimator, "compute", interrupted)
    file = write_checkpoint("ssn")
    arguments = ["--checkpoint", str(file), str(pictures / "clip.avi"), "--whole-image", "--batch", "1"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 130
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 2
    assert cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


@pytest.mark.parametrize(
    ("given", "device", "exact", "expected"),
    [(32, "cpu", False, 8), (2, "cpu", False, 2), (32, "cpu", True, 32), (32, "cuda", False, 32)],
)
def test_batches_are_small_on_a_cpu(given: int, device: str, exact: bool, expected: int) -> None:
    config = RunConfig(data=DataConfig(val_batch_size=given))
    trained = Trained(config, torch.nn.Identity(), COCO, Path())
    assert _batch_size(trained, torch.device(device), exact=exact) == expected
