import hashlib
import json
import multiprocessing
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO as CocoApi

from datamodules.config import RenderedConfig
from datamodules.synthetic import make_dataset, rendered_root
from datamodules.synthetic.__main__ import main
from datamodules.synthetic.splits import VERSION

CONFIG = RenderedConfig(train_images=36, val_images=12, size=96, seed=3)


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("rendered") / "people", CONFIG, workers=1)


def test_pycocotools_loads_both_splits(root: Path) -> None:
    for split, count in (("train2017", 36), ("val2017", 12)):
        api = CocoApi(str(root / "annotations" / f"person_keypoints_{split}.json"))
        assert len(api.imgs) == count
        assert len(set(api.anns)) == len(api.dataset["annotations"])
        for image in api.imgs.values():
            assert cv2.imread(str(root / split / image["file_name"])).shape == (96, 96, 3)
            assert image["license"] in {entry["id"] for entry in api.dataset["licenses"]}
        for annotation in api.anns.values():
            keypoints = np.array(annotation["keypoints"]).reshape(17, 3)
            assert annotation["num_keypoints"] == np.count_nonzero(keypoints[:, 2])
            assert ((keypoints[:, :2] >= 0) & (keypoints[:, :2] <= 95)).all()
            assert (keypoints[keypoints[:, 2] == 0] == 0).all()


def test_splits_share_no_picture(root: Path) -> None:
    contents = [value for name, value in digest(root).items() if name.endswith(".jpg")]
    assert len(set(contents)) == len(contents) == 48


def test_bytes_depend_on_the_seed_alone_not_on_the_workers(root: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    again = make_dataset(tmp_path / "again", CONFIG, workers=3, progress=lambda done, total: seen.append((done, total)))
    assert digest(again) == digest(root)
    assert seen[-1] == (48, 48)
    other = make_dataset(tmp_path / "other", RenderedConfig(2, 1, 96, seed=4), workers=1)
    assert digest(other)["train2017/000000000001.jpg"] != digest(root)["train2017/000000000001.jpg"]


def test_a_finished_dataset_is_used_again_and_nothing_is_left_beside_it(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert make_dataset(root, CONFIG) == root
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert {path.name for path in root.parent.iterdir()} == {"people", ".people.lock"}


def test_a_folder_with_something_else_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"people: holds the rendered dataset .*'seed': 3.* choose another folder"):
        make_dataset(root, RenderedConfig(36, 12, 96, seed=5))
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds no rendered dataset"):
        make_dataset(tmp_path, CONFIG)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(("key", "value"), [("size", 8), ("train_images", -1), ("seed", -1)])
def test_senseless_configuration_names_its_key(key: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"data\.rendered\.{key}: {value}"):
        make_dataset(tmp_path / "x", RenderedConfig(**{key: value}))
    assert not list(tmp_path.iterdir())


def _make(arguments: tuple[Path, RenderedConfig]) -> int:
    calls: list[int] = []
    make_dataset(*arguments, workers=1, progress=lambda done, total: calls.append(done))
    return len(calls)


def test_of_concurrent_callers_one_renders(tmp_path: Path) -> None:
    config = RenderedConfig(10, 4, 64, seed=1)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        rendered = pool.map(_make, [(tmp_path / "people", config)] * 3)
    assert sorted(rendered) == [0, 0, 14]
    assert digest(tmp_path / "people") == digest(make_dataset(tmp_path / "alone", config, workers=1))


def test_an_interrupted_run_leaves_no_dataset_and_the_next_one_clears_up(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    config = RenderedConfig(10, 4, 64, seed=1)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "people", config, workers=1, progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == [".people.lock"]
    (tmp_path / ".people.killed" / "train2017").mkdir(parents=True)
    make_dataset(tmp_path / "people", config, workers=1)
    assert {path.name for path in tmp_path.iterdir()} == {".people.lock", "people"}


def test_cache_location(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("POSE_DATA", raising=False)
    name = f"96-36-12-3-6p0f180-v{VERSION}"
    assert rendered_root(CONFIG) == Path("data/rendered") / name
    monkeypatch.setenv("POSE_DATA", str(tmp_path))
    assert rendered_root(CONFIG) == tmp_path / "rendered" / name


def test_command_line_writes_sheet_and_dataset_without_torch(tmp_path: Path) -> None:
    script = (
        "import sys, runpy\n"
        f"sys.argv = ['synthetic', '--sheet', {str(tmp_path / 'sheet.jpg')!r}, '--size', '64', '--rows', '1']\n"
        "runpy.run_module('datamodules.synthetic', run_name='__main__')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert cv2.imread(str(tmp_path / "sheet.jpg")).shape == (72, 5 * 68 + 4, 3)


def test_other_people_are_kept_elsewhere() -> None:
    """Also those who differ in a third decimal: a folder of one would be refused to the other."""
    heights = [rendered_root(replace(CONFIG, min_height=height)).name for height in (0.9, 0.904, 0.55)]
    turns = [rendered_root(replace(CONFIG, facing=degrees)).name for degrees in (60.0, 60.4)]
    casts = [name.split("-")[4] for name in (*heights, *turns)]
    assert casts == ["6p90f180", "6p90.4f180", "6p55f180", "6p0f60", "6p0f60.4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sheet", "x.jpg", "--max-people", "0"], "data.rendered.max_people: 0, expected at least 1 for a sheet"),
        (["--sheet", "x.jpg", "--size", "0"], "data.rendered.size: 0, expected at least 32"),
        (["--sheet", "x.jpg", "--rows", "0"], "a contact sheet needs at least one image"),
        (["--sheet", "x.sheet"], "x.sheet: give --sheet a name that ends in .jpg or .png"),
        (["--root", "file/x", "--size", "64"], "File exists: 'file'"),
    ],
)
def test_senseless_command_lines_end_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert message in str(caught.value)


def test_annotation_files_are_complete_json(root: Path) -> None:
    content = json.loads((root / "annotations" / "person_keypoints_val2017.json").read_text())
    assert set(content) == {"info", "licenses", "images", "annotations", "categories"}
    assert len(content["categories"][0]["keypoints"]) == 17
    assert np.array(content["categories"][0]["skeleton"]).min() == 1
