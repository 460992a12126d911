"""The command finds the errors that were put in, from result files and from checkpoints, and draws them."""

import json
from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from experiments.diagnose import main
from experiments.diagnosis.pictures import CELL, KIND_COLORS
from experiments.run import main as run


def told(arguments, capfd):
    """Exit code, JSON on stdout, last line on stderr."""
    capfd.readouterr()
    code = main([*map(str, arguments), "--json"])
    out, err = capfd.readouterr()
    return code, json.loads(out), (err.strip().splitlines() or [""])[-1]


@pytest.fixture
def files(tiny_coco, tmp_path):
    """Annotations; the truth as a result; and the truth with every wrist far away."""
    annotations = tiny_coco / "annotations" / "person_keypoints_val2017.json"
    written = [annotations]
    for name, shift in (("exact", 0.0), ("wrists", 500.0)):
        results = []
        for entry in json.loads(annotations.read_text())["annotations"]:
            points = np.array(entry["keypoints"], dtype=float).reshape(-1, 3)
            points[[9, 10], 0] += shift
            keypoints = points.reshape(-1).tolist()
            results.append({"image_id": entry["image_id"], "category_id": 1, "keypoints": keypoints, "score": 0.5})
        written.append(tmp_path / f"{name}.json")
        written[-1].write_text(json.dumps(results))
    return written


@pytest.mark.skipif(find_spec("hotcoco") is None, reason="hotcoco is not installed")
def test_hotcoco_gives_the_same_diagnosis(files, tmp_path, capfd):
    annotations, exact, wrists = files
    arguments = [
        "--predictions",
        exact,
        wrists,
        "--annotations",
        annotations,
        "--out",
        tmp_path / "out",
        "--worst",
        "0",
    ]
    code, report, _ = told(arguments, capfd)
    assert (code, *told([*arguments, "--backend", "hotcoco"], capfd)[:2]) == (0, 0, report)


def test_two_files_side_by_side(files, tmp_path, capfd):
    annotations, exact, wrists = files
    out = tmp_path / "out"
    arguments = ["--predictions", exact, wrists, "--annotations", annotations, "--out", out, "--worst", "2"]
    code, report, _ = told(arguments, capfd)
    assert code == 0
    assert report["diagnoses"]["exact"]["AP"] == pytest.approx(1.0)
    found = report["diagnoses"]["wrists"]
    assert found["shares"]["miss"] == 1.0
    assert found["gains"]["miss"] == pytest.approx(1 - found["AP"])
    assert found["keypoints"] == {"good": 14 * 15, "jitter": 0, "inversion": 0, "swap": 0, "miss": 14 * 2}
    assert found["people"]["matched"] == 14
    assert len(found["worst"]) == 7
    assert found["worst"][0][1] == pytest.approx(2 * 2 / 17, abs=1e-3)
    assert json.loads((out / "diagnosis.json").read_text())["diagnoses"]["wrists"] == found
    assert report["files"] == [str(out / "diagnosis.png"), str(out / "worst.jpg")]
    bars, worst = (cv2.imread(name) for name in report["files"])
    assert bars.std() > 10
    assert worst.shape[1] == 2 * (CELL + 4) + 4  # a cell for each file
    orange = np.abs(worst.astype(int) - KIND_COLORS["miss"][::-1]).sum(axis=2) < 60  # wrists, beside the legend
    middle = worst.shape[1] // 2
    assert orange[30:, middle:].sum() > 100 > orange[30:, :middle].sum()
    assert main([str(argument) for argument in arguments]) == 0
    printed = capfd.readouterr().out
    (row,) = [line.replace("│", " ").split() for line in printed.splitlines() if " miss " in line]
    assert row == ["miss", "0", "+0.0", "28", f"{100 * found['gains']['miss']:+.1f}"]


def test_a_checkpoint_is_evaluated_first(toy, tiny_coco, tmp_path, capfd):
    arguments = ["--paper", "toy", "--preset", "brief", "--name", "one", f"data.root={tiny_coco}", "model.start=0.4"]
    assert run([*arguments, f"output.root={tmp_path / 'runs'}", "output.pictures=0"]) == 0
    folder = tmp_path / "runs" / "toy" / "one"
    code, report, _ = told(["--checkpoint", folder, "--worst", "0", "data.limit_val=3"], capfd)
    assert code == 0
    assert report["images"] == 3
    found = report["diagnoses"]["one"]
    assert found["people"]["annotated"] == 6
    assert sum(found["keypoints"].values()) == 17 * found["people"]["matched"]
    home = folder / "evaluations" / "tiny-val2017-3-images-single-scale"
    assert report["files"] == [str(home / "diagnosis" / "diagnosis.png")]
    again, (file,) = told(["--predictions", home / "predictions.json"], capfd)[1], report["diagnoses"]
    assert again["diagnoses"][file]["AP"] == report["diagnoses"][file]["AP"]


def test_mistakes_are_one_line(files, tmp_path, capfd):
    annotations, exact, wrists = files
    for arguments, message in (
        ([], "give --checkpoint or --predictions"),
        (["--predictions", exact, wrists, exact], "one or two of them"),
        (["--predictions", exact], "no record beside it"),
        (["--predictions", "nowhere.json"], "nowhere.json: no such file"),
        (["--predictions", annotations, "--annotations", annotations], "an object at its top"),
        (["--predictions", tmp_path], f"{tmp_path}: is a folder, not a file"),
        (["--predictions", exact, "--annotations", tmp_path], f"{tmp_path}: is a folder, not a file"),
        (["--predictions", exact, "--protocol", "test-dev"], "nobody is annotated"),
        (["--predictions", exact, "--protocol", "mini"], "--protocol is of --checkpoint"),
        (["--checkpoint", tmp_path, "--annotations", annotations], "--annotations is of --predictions"),
        (["--checkpoint", tmp_path, "--out", exact], f"{exact}: cannot be made a folder (File exists); set --out"),
        (["--predictions", exact, "data.rooot=x"], "data.root and data.val_split only"),
    ):
        code, report, line = told(arguments, capfd)
        assert code == 2
        assert message in line
        assert line == f"error: {report['error']}"


def test_each_file_is_named_while_it_is_matched(files, tmp_path, capfd):
    annotations, exact, wrists = files
    arguments = [
        "--predictions",
        exact,
        wrists,
        "--annotations",
        annotations,
        "--out",
        tmp_path / "out",
        "--worst",
        "0",
    ]
    people = len(json.loads(exact.read_text()))
    assert main([*map(str, arguments)]) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "matching" in line]
    assert lines == [f"{name}: matching {people} people in 7 images" for name in ("exact", "wrists")]
