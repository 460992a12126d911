"""Figures are those of pycocotools on the same files, and stand beside those of the same protocol only."""

import io
import json
import re
from contextlib import redirect_stdout
from importlib.util import find_spec

import numpy as np
import pytest
from pycocotools.coco import COCO as CocoIndex
from pycocotools.cocoeval import COCOeval

from datamodules import coco_backend
from datamodules.coco_submission import check_submission
from datamodules.evaluator import FIGURES
from experiments.evaluate import main
from experiments.run import main as run


@pytest.fixture
def run_folder(toy, tiny_coco, tmp_path):
    """A run of one epoch."""
    arguments = ["--paper", "toy", "--preset", "brief", "--name", "one", f"data.root={tiny_coco}", "model.start=1.2"]
    assert run([*arguments, f"output.root={tmp_path / 'runs'}", "output.pictures=0"]) == 0
    return tmp_path / "runs" / "toy" / "one"


def told(arguments, capfd):
    """Exit code, JSON on stdout, last line on stderr."""
    capfd.readouterr()
    code = main([*map(str, arguments), "--json"])
    out, err = capfd.readouterr()
    return code, json.loads(out), (err.strip().splitlines() or [""])[-1]


def by_pycocotools(annotations, results):
    with redirect_stdout(io.StringIO()):
        truth = CocoIndex(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [figure if figure >= 0 else None for figure in evaluation.stats.tolist()]  # -1: nobody of that size


def test_a_checkpoint_its_saved_people_and_pycocotools_agree(run_folder, tiny_coco, capfd):
    annotations = tiny_coco / "annotations" / "person_keypoints_val2017.json"
    code, report, _ = told(["--checkpoint", run_folder, "--protocol", "mini"], capfd)
    assert code == 0
    assert report["protocol"] == "tiny-val2017-7-images-single-scale"
    assert report["note"].startswith("the paper publishes no figure of this protocol")
    assert report["published"] == []
    figures = report["stages"][""]
    assert [figures[name] for name in FIGURES] == by_pycocotools(annotations, report["predictions"])
    assert 0 < figures["AP"] < 1
    assert {**figures} == json.loads((run_folder / "result.json").read_text())["figures"]  # as after training
    code, again, _ = told(["--predictions", report["predictions"]], capfd)  # the record knows the annotations
    assert code == 0
    assert {key: again[key] for key in report} == report
    for place in (["--annotations", annotations], [f"data.root={tiny_coco}"]):
        code, again, _ = told(["--predictions", report["predictions"], *place], capfd)
        assert code == 0
        assert again["stages"] == report["stages"]


def test_images_without_a_detection_and_a_part_of_the_images(run_folder, tiny_coco, capfd, tmp_path):
    code, report, _ = told(["--checkpoint", run_folder, "data.limit_val=3", "--out", tmp_path / "three"], capfd)
    assert (code, report["images"]) == (0, 3)
    code, again, _ = told(["--predictions", report["predictions"]], capfd)
    assert (again["images"], again["stages"]) == (3, report["stages"])
    entries = json.loads((tmp_path / "three" / "predictions.json").read_text())
    one_image = [entry for entry in entries if entry["image_id"] == 2]
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(one_image))
    annotations = tiny_coco / "annotations" / "person_keypoints_val2017.json"
    code, report, _ = told(["--predictions", elsewhere, "--annotations", annotations], capfd)
    assert (code, report["images"]) == (0, 7)
    assert [report["stages"][""][name] for name in FIGURES] == by_pycocotools(annotations, elsewhere)
    assert "no record" in report["note"]
    elsewhere.write_text("[]")
    code, report, _ = told(["--predictions", elsewhere, "--annotations", annotations], capfd)
    assert (code, report["stages"][""]["AP"]) == (0, 0.0)
    archive = tmp_path / "person_keypoints_test-dev2017_one-image_results.zip"
    arguments = [
        "--predictions",
        elsewhere,
        "--annotations",
        annotations,
        "--protocol",
        "test-dev",
        "--alg",
        "one_image",
    ]
    code, report, _ = told(arguments, capfd)
    assert (code, report["submission"], report["people"]) == (0, str(archive), 0)
    assert check_submission(archive) == 0


def test_two_files_are_compared(people_files, capfd):
    annotations, worse, better = people_files
    arguments = ["--compare", worse, better, "--annotations", annotations, "--resamples", "50"]
    code, report, _ = told(arguments, capfd)
    assert code == 0
    assert 0 < report["low"] < report["difference"] < report["high"]
    assert report["second"] == pytest.approx(by_pycocotools(annotations, better)[0])
    code, scored, _ = told(["--predictions", worse, "--annotations", annotations], capfd)
    assert [scored["stages"][""][name] for name in FIGURES] == by_pycocotools(annotations, worse)
    assert report["first"] == pytest.approx(scored["stages"][""]["AP"])
    assert main([str(argument) for argument in arguments]) == 0
    assert "95% interval [+" in capfd.readouterr().out


@pytest.mark.skipif(find_spec("hotcoco") is None, reason="hotcoco is not installed")
def test_hotcoco_gives_the_same_report(run_folder, people_files, capfd):
    annotations, worse, better = people_files
    for arguments in (
        ["--checkpoint", run_folder],
        ["--predictions", worse, "--annotations", annotations],
        ["--compare", worse, better, "--annotations", annotations, "--resamples", "20"],
    ):
        code, report, _ = told(arguments, capfd)
        assert (code, *told([*arguments, "--backend", "hotcoco"], capfd)[:2]) == (0, 0, report)


def test_a_backend_that_is_not_installed_is_refused_at_once(run_folder, people_files, monkeypatch, capfd):
    monkeypatch.setattr(coco_backend, "find_spec", lambda name: None)
    expected = "error: evaluation.backend=hotcoco: the package is not installed; pip install hotcoco, or leave"
    for source in (["--checkpoint", run_folder], ["--predictions", people_files[1], "--annotations", people_files[0]]):
        code, _, line = told([*source, "--backend", "hotcoco"], capfd)
        assert code == 2
        assert line.startswith(expected)
    places = [f"output.root={run_folder.parents[1]}", f"data.root={people_files[0].parents[1]}"]
    assert run(["--paper", "toy", "--preset", "brief", "--name", "two", *places, "evaluation.backend=hotcoco"]) == 2
    assert capfd.readouterr().err.strip().splitlines()[-1].startswith(expected)


def test_test_dev_needs_no_people(run_folder, tiny_coco, capfd, monkeypatch):
    """COCO's test images come as a list of images without annotations, in the folder of a larger set."""
    from experiments.evaluation import protocol

    content = json.loads((tiny_coco / "annotations" / "person_keypoints_val2017.json").read_text())
    images = {"images": content["images"], "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}]}
    (tiny_coco / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(images))
    (tiny_coco / "val2017").rename(tiny_coco / "test2017")
    arguments = ["--checkpoint", run_folder, "--protocol", "test-dev", f"data.root={tiny_coco}"]
    code, report, line = told(arguments, capfd)
    assert code == 2
    assert "test-dev2017 has 20288 images" in line
    monkeypatch.setitem(protocol.FULL_SPLITS, "test-dev2017", 7)
    code, report, _ = told([*arguments, "--alg", "a toy"], capfd)
    assert code == 0
    assert report["submission"].endswith("/person_keypoints_test-dev2017_a-toy_results.zip")
    assert "stages" not in report
    assert report["people"] == 0  # the toy only repeats the truth, and there is none


MISTAKES = [
    ([], "give one of"),
    (["--checkpoint", "nowhere"], "nowhere: no such file"),
    (["--checkpoint", "{run}", "--protocol", "val2017"], r"no protocol 'val2017'; did you mean val2017-"),
    (["--checkpoint", "{run}", "--protocol", "val2017-gt"], "val2017 has 5000 images, .* has 7"),
    (["--checkpoint", "{run}", "--protocol", "val2017-det"], "toy takes no boxes"),
    (["--checkpoint", "{run}", "--protocol", "rendered"], "has no rendered people"),
    (["--checkpoint", "{run}", "--flip", "on"], "toy has no flip test"),
    (["--checkpoint", "{run}", "--scales", "paper"], "toy has no multi-scale test"),
    (["--checkpoint", "{run}", "data.rot=x"], "data.rot: no such key"),
    (["--predictions", "nowhere.json"], "nowhere.json: no such file"),
    (["--predictions", "{run}/metrics.csv", "--annotations", "{run}/metrics.csv"], "not JSON"),
    (["--predictions", "{run}/run.json"], "no record beside it; give --annotations"),
    (["--predictions", "{run}/run.json", "--flip", "on"], "--flip does not go with --predictions: it is of the model"),
    (["--checkpoint", "{run}", "--seed", "3"], "--seed does not go with --checkpoint"),
    (["--checkpoint", "{run}", "--annotations", "{run}/run.json"], "a checkpoint's are those of data.root"),
    (["--compare", "{run}/run.json", "{run}/run.json", "--out", "{run}"], "--out does not go with --compare"),
    (["--predictions", "{run}"], "a folder, not a file"),
    (["--checkpoint", "{run}", "--out", "{run}/run.json/below"], "cannot be made a folder .*set --out"),
    (["--predictions", "{run}/run.json", "data.root=nowhere"], "person_keypoints_val2017.json: no such file"),
]


def test_mistakes_are_one_line(run_folder, capfd):
    for arguments, message in MISTAKES:
        code, report, line = told([argument.replace("{run}", str(run_folder)) for argument in arguments], capfd)
        assert code == 2
        assert line == f"error: {report['error']}"
        assert re.search(message, line), line


@pytest.mark.parametrize(("option", "value"), [("--resamples", "0"), ("--confidence", "1"), ("--seed", "-1")])
def test_senseless_draws_are_refused_by_name(option, value, capfd):
    with pytest.raises(SystemExit, match="2"):
        main(["--compare", "a.json", "b.json", f"{option}={value}"])
    assert option in capfd.readouterr().err.splitlines()[-1]


@pytest.fixture
def people_files(tiny_coco, tmp_path):
    """Annotations, and results with large and with small errors."""
    annotations = tiny_coco / "annotations" / "person_keypoints_val2017.json"
    entries = json.loads(annotations.read_text())["annotations"]
    files = [annotations]
    for name, pixels in (("worse", 2.0), ("better", 0.3)):
        generator = np.random.default_rng(0)
        results = []
        for entry in entries:
            points = np.array(entry["keypoints"]).reshape(-1, 3)
            points[:, :2] += generator.normal(0, pixels, (17, 2))
            keypoints = points.reshape(-1).tolist()
            results.append({"image_id": entry["image_id"], "category_id": 1, "keypoints": keypoints, "score": 0.5})
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(results))
    return files
