import hashlib
import io
import json
import subprocess
import sys
import zipfile

import cv2
import pytest

from datamodules import coco_archives
from experiments.data import main


@pytest.fixture
def root(write_coco, person):
    return write_coco([person(n, image_id=n) for n in (1, 2)], {1: (40, 60), 2: (40, 60)})


def test_check_counts_and_is_content(root, capsys):
    assert main(["check", "--root", str(root)]) == 0
    out = capsys.readouterr().out
    assert "train2017: 0 errors, 0 repaired" in out
    assert "val2017: 0 errors, 0 repaired" in out
    assert "2 images, 2 with labelled people" in out
    assert "2 left_wrist (2 visible)" in out


def test_check_names_errors_and_fails(root, capsys):
    (root / "val2017/2.png").unlink()
    assert main(["check", "--root", str(root), "--splits", "val2017", "--decode"]) == 1
    out = capsys.readouterr().out
    assert "val2017: 1 errors, 0 repaired" in out
    assert "error: " in out
    assert "image 2: its photograph" in out
    assert "train2017" not in out.replace(str(root), "")


def test_check_in_json_is_one_object(root, capsys):
    (root / "annotations/person_keypoints_train2017.json").write_text("[]")
    assert main(["check", "--root", str(root), "--json"]) == 1
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert result["errors"] == 1
    assert result["splits"]["train2017"]["figures"] is None
    assert result["splits"]["train2017"]["complaints"][0]["severity"] == "error"
    assert result["splits"]["val2017"]["figures"]["keypoints"]["nose"] == {"labelled": 2, "visible": 2}


def test_check_refuses_larger_photographs_than_told(root, capsys):
    assert main(["check", "--root", str(root), "--max-image-pixels", "1000"]) == 1
    assert "60x40 is more than data.max_image_pixels=1000" in capsys.readouterr().out


def test_many_complaints_of_a_kind_are_counted(write_coco, person, capsys):
    people = [person(n, image_id=n) for n in range(1, 31)]
    people[0]["keypoints"] = [1.0, 2.0]
    root = write_coco(people, dict.fromkeys(range(1, 31), (40, 60)))
    for n in range(1, 26):
        (root / f"val2017/{n}.png").unlink()
    assert main(["check", "--root", str(root), "--splits", "val2017"]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "val2017: 26 errors, 0 repaired"
    assert sum("is missing" in line for line in lines) == 10
    assert sum("annotation 1: " in line for line in lines) == 1
    assert lines[-1] == "error: … and 15 more of this kind"
    main(["check", "--root", str(root), "--splits", "val2017", "--json"])
    assert len(json.loads(capsys.readouterr().out)["splits"]["val2017"]["complaints"]) == 26  # for programs, all


def test_check_shows_progress_on_stderr_but_not_with_json(root, capsys, monkeypatch):
    monkeypatch.setattr("experiments.progress.LOG_SECONDS", 0.0)
    assert main(["check", "--root", str(root), "--splits", "val2017", "--decode"]) == 0
    captured = capsys.readouterr()
    assert [line.partition(" images")[0] for line in captured.err.splitlines()] == [
        "val2017: checking  1/2",
        "val2017: checking  2/2",
    ]
    assert "checking" not in captured.out
    main(["check", "--root", str(root), "--splits", "val2017", "--decode", "--json"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["check", "browse"])
def test_a_folder_without_annotations_is_one_line(tmp_path, capsys, command):
    extra = ["--out", str(tmp_path / "a.jpg")] if command == "browse" else []
    assert main([command, "--root", str(tmp_path / "nowhere"), *extra]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "give --root a folder in COCO's layout" in captured.err
    assert main([command, "--root", str(tmp_path / "nowhere"), *extra, "--json"]) == 1
    captured = capsys.readouterr()
    told = captured.err.strip().removeprefix("error: ")
    assert json.loads(captured.out) == {"exit_code": 1, "error": told}


def test_check_of_a_real_coco(coco_mini, capsys):
    assert main(["check", "--root", str(coco_mini), "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert splits["train2017"]["figures"]["images"] == 249
    assert splits["val2017"]["figures"]["people"] == 446
    assert splits["val2017"]["figures"]["crowds"] == 10


def test_browse_draws_a_sheet(root, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    call = ["browse", "--root", str(root), "--out", str(out), "--number", "2", "--split", "train2017", "--json"]
    assert main([*call, "data.size=64", "data.resize=crop", "data.augmentation.rotation=30"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"out": str(out), "split": "train2017", "view": "image"}
    assert cv2.imread(str(out)).shape[1] >= 4 * 400


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["data.sise=3"], "data.sise"),
        (["data.size=x"], "data.size"),
        (["data.augmentation.scale=[2,1]"], "data.augmentation.scale: must be [low, high], positive, got [2.0, 1.0]"),
        (["--out", "sheet.doc"], "ends in .jpg"),
        (["--out", "/nowhere/sheet.jpg"], "could not be written"),
        (["--split", "test2017"], "no such annotation file"),
    ],
)
def test_browse_called_wrongly_is_one_line(root, tmp_path, capfd, arguments, text):
    call = ["browse", "--root", str(root), "--number", "1", "--out", str(tmp_path / "a.jpg"), *arguments]
    assert main(call) == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert text in error


def test_make_renders_a_data_set_that_passes_the_check(tmp_path, capsys):
    root = tmp_path / "rendered"
    sizes = ["--images", "3", "--val-images", "2", "--size", "64", "--workers", "1"]
    assert main(["make", "--root", str(root), *sizes, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"root": str(root), "train_images": 3, "val_images": 2}
    assert main(["check", "--root", str(root), "--decode", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["train2017"]["figures"]["images"] == 3


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder served as ``file://`` with small archives in the place of COCO's."""

    def archive(path, members, contents):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for name in contents:
                file.writestr(name, name)
        target = tmp_path / "mirror" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(buffer.getvalue())
        return coco_archives.Archive(path, len(buffer.getvalue()), hashlib.md5(buffer.getvalue()).hexdigest(), members)

    names = [f"annotations/{kind}_val2017.json" for kind in ("person_keypoints", "captions")]
    annotations = archive("annotations/a.zip", ("annotations/person_keypoints_",), names)
    monkeypatch.setattr(coco_archives, "ANNOTATIONS", annotations)
    monkeypatch.setitem(coco_archives.IMAGES, "val", archive("zips/v.zip", ("val2017/",), ["val2017/1.jpg"]))
    monkeypatch.setattr(coco_archives.time, "sleep", lambda seconds: None)
    return tmp_path / "mirror"


def test_download_puts_coco_in_its_layout(mirror, tmp_path, capsys):
    root = tmp_path / "coco"
    call = ["download", "--root", str(root), "--splits", "val", "--base-url"]
    assert main([*call, mirror.as_uri(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"root": str(root), "splits": ["val2017"]}
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*.[j]*"))
    assert found == ["annotations/person_keypoints_val2017.json", "val2017/1.jpg"]
    assert main([*call, "http://127.0.0.1:1"]) == 0
    assert "complete" in capsys.readouterr().out


def test_a_failed_download_is_one_line(tmp_path, mirror, capsys):
    assert (
        main(["download", "--root", str(tmp_path / "coco"), "--splits", "val", "--base-url", "http://127.0.0.1:1"]) == 1
    )
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: http://127.0.0.1:1/annotations/a.zip: ")
    assert "run the command again" in error


@pytest.mark.parametrize(
    "arguments", [[], ["chek"], ["check"], ["check", "--root"], ["download", "--root", "x", "--splits", "test"]]
)
def test_wrong_calls_exit_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom experiments.data import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as e:\n    assert e.code == 0\n"
        "assert not {'torch', 'cv2', 'numpy', 'omegaconf'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "download" in done.stdout
