"""hotcoco against pycocotools on the same people: every figure, every curve and every match, to the last bit."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules import coco_backend
from datamodules.bootstrap import compare
from datamodules.coco_backend import check_backend
from datamodules.config import EvaluationBackend, RenderedConfig
from datamodules.evaluator import CocoKeypointEvaluator
from datamodules.ground_truth import EvaluationError
from datamodules.keypoint_errors import diagnose
from datamodules.mask_figures import encode_masks
from datamodules.matches import pack
from datamodules.skeleton import COCO, Skeleton
from datamodules.synthetic import make_dataset

needs_hotcoco = pytest.mark.skipif(find_spec("hotcoco") is None, reason="hotcoco is not installed")
TRIANGLE = Skeleton("triangle", ("top", "left_foot", "right_foot"), (("top", "left_foot"),), (0.05, 0.1, 0.1))
Entries = list[dict[str, Any]]


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kinds of the evaluations that hotcoco has run."""
    kinds: list[str] = []
    by_hotcoco = coco_backend._by_hotcoco
    monkeypatch.setattr(coco_backend, "_by_hotcoco", lambda *given: kinds.append(given[-1]) or by_hotcoco(*given))
    return kinds


def both(file: Path, **options: Any) -> tuple[CocoKeypointEvaluator, CocoKeypointEvaluator]:
    reference, fast = (CocoKeypointEvaluator(file, backend=backend, **options) for backend in EvaluationBackend)
    return reference, fast


def same(one: dict[str, float], other: dict[str, float]) -> bool:
    """Equal to the last bit, NaN equal to itself."""
    return np.array_equal(list(one.values()), list(other.values()), equal_nan=True) and one.keys() == other.keys()


def write(file: Path, people: Entries, images: int, category: int = 1) -> Path:
    shown = [{"id": 7 * number + 3, "width": 400, "height": 400, "file_name": "x"} for number in range(images)]
    content = {"images": shown, "annotations": people, "categories": [{"id": category, "name": "person"}]}
    file.write_text(json.dumps(content))
    return file


def person(number: int, image: int, keypoints: np.ndarray, area: float, **changes: Any) -> dict[str, Any]:
    """``keypoints`` [K, 3]."""
    low = keypoints[:, :2].min(0)
    return {
        "id": number,
        "image_id": 7 * image + 3,
        "category_id": 1,
        "keypoints": keypoints.reshape(-1).tolist(),
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "bbox": [*low.tolist(), *(keypoints[:, :2].max(0) - low).tolist()],
        "area": area,
        "iscrowd": 0,
        **changes,
    }


def found(image_id: int, keypoints: np.ndarray, score: float) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 1, "keypoints": keypoints.reshape(-1).tolist(), "score": score}


@st.composite
def scenes(draw: st.DrawFn, joints: int) -> tuple[Entries, Entries, int]:
    """People, results and the number of images: crowds, nobody labelled, borders of area ranges, ties in scores."""
    images = draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    people: Entries = []
    results: Entries = []
    for image in range(images):
        for size in draw(st.lists(st.sampled_from((12.0, 32.0, 60.0, 96.0, 250.0)), max_size=5)):
            flags = generator.integers(0, 3, (joints, 1)) * draw(st.sampled_from((0, 1, 1, 1)))
            places = generator.uniform(0, size, (joints, 2)) + generator.uniform(0, 100, 2)
            keypoints = (np.concatenate([places, flags], axis=1) * (flags > 0)).round(draw(st.integers(0, 2)))
            area = draw(st.sampled_from((size**2, 0.53 * size**2, 0.0)))
            crowd = int(draw(st.integers(0, 9)) == 0)
            people.append(person(len(people) + 1, image, keypoints, area, iscrowd=crowd))
            for off in draw(st.lists(st.sampled_from((0.0, 0.02, 0.05, 0.2)), max_size=3)):
                guess = places + generator.normal(0, off * size, places.shape)
                guess = np.concatenate([guess, flags], axis=1).round(3)
                results.append(found(7 * image + 3, guess, draw(st.sampled_from((0.1, 0.5, 0.5, 0.9)))))
        for _ in range(draw(st.sampled_from((0, 0, 1, 24)))):
            guess = generator.uniform(0, 300, (joints, 3)).round(3)
            results.append(found(7 * image + 3, guess, float(generator.random())))
    return people, [results[row] for row in generator.permutation(len(results))], images


@needs_hotcoco
@pytest.mark.parametrize("skeleton", [COCO, TRIANGLE], ids=["coco", "triangle"])
def test_any_scene_has_the_same_figures_and_matches(
    skeleton: Skeleton, tmp_path: Path, used: list[str], recwarn: pytest.WarningsRecorder
) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(scenes(skeleton.num_keypoints), st.data())
    def check(scene: tuple[Entries, Entries, int], data: st.DataObject) -> None:
        people, results, images = scene
        file = write(tmp_path / "truth.json", people, images)
        chosen = data.draw(st.sampled_from((None, [3], [3, 7 * images - 4])))
        if chosen is not None:
            results = [entry for entry in results if entry["image_id"] in chosen]
        reference, fast = both(file, skeleton=skeleton, image_ids=chosen)
        assert same(fast.score(results), reference.score(results))
        theirs, ours = (
            evaluator.match(results, thresholds=[0.1, 0.5, 0.75], image_ids=chosen and chosen[:1])
            for evaluator in (reference, fast)
        )
        assert list(theirs) == list(ours)
        for image_id, expected in theirs.items():
            given = ours[image_id]
            assert (given is None) == (expected is None)
            for name in ("dtIds", "gtIds", "dtMatches", "gtMatches", "dtScores", "gtIgnore", "dtIgnore"):
                assert expected is None or np.array_equal(given[name], expected[name]), name

    check()
    assert used.count("keypoints") >= 100
    assert not [warning for warning in recwarn if "hotcoco" in str(warning.message)]  # others may be of tests before


@needs_hotcoco
def test_rendered_people_their_masks_errors_and_intervals(
    tmp_path: Path, used: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    make_dataset(tmp_path, RenderedConfig(train_images=1, val_images=24, size=160), progress=False)
    file = tmp_path / "annotations" / "person_keypoints_val2017.json"
    reference, fast = both(file)
    people = [entry for image in reference.ground_truth.image_ids for entry in reference.ground_truth.people(image)]
    assert any(entry["iscrowd"] for entry in people)
    assert any(entry["num_keypoints"] == 0 for entry in people)
    generator = np.random.default_rng(0)
    results, masks = [], []
    for entry in people:
        size = math.sqrt(entry["area"])
        outline = torch.from_numpy(reference.ground_truth.index.annToMask(entry)).bool()
        for off in (0.02, 0.08):
            keypoints = np.array(entry["keypoints"], dtype=float).reshape(-1, 3)
            keypoints[:, :2] += generator.normal(0, off * size, (17, 2))
            results.append(found(entry["image_id"], keypoints.round(3), round(float(generator.random()), 2)))
            shown = encode_masks([outline.roll(int(generator.integers(-4, 5)), 1)])[0]
            masks.append({key: results[-1][key] for key in ("image_id", "category_id", "score")})
            masks[-1]["segmentation"] = shown
    capfd.readouterr()
    figures = fast.score(results)
    assert same(figures, reference.score(results))
    assert 0.2 < figures["AP"] < 0.9
    assert len(set(figures.values())) >= 8
    figures = fast.score_masks(masks)
    assert same(figures, reference.score_masks(masks))
    assert 0.2 < figures["segm/AP"] < 0.95
    assert set(used) == {"keypoints", "segm"}
    assert capfd.readouterr() == ("", "")
    one, other = (diagnose(evaluator, results) for evaluator in (reference, fast))
    assert one.gains == other.gains
    assert one.people == other.people
    packed = [[pack(evaluator.match(part).values()) for part in (results[::2], results)] for evaluator in both(file)]
    assert compare(*packed[0], resamples=20) == compare(*packed[1], resamples=20)


@needs_hotcoco
def test_nothing_found_and_nobody_there(tmp_path: Path, used: list[str]) -> None:
    keypoints = np.ones((17, 3)).cumsum(axis=0)
    reference, fast = both(write(tmp_path / "truth.json", [person(1, 0, keypoints, 20_000.0)], 2))
    assert same(fast.score([]), reference.score([]))
    assert fast.match([]).keys() == {3, 10}
    assert fast.score([found(10, keypoints, 0.5)])["AP"] == 0.0
    reference, fast = both(write(tmp_path / "truth.json", [], 2))
    figures = fast.score([found(3, keypoints, 0.5)])
    assert same(figures, reference.score([found(3, keypoints, 0.5)]))
    assert figures["AP"] == 0.0
    assert math.isnan(figures["APM"])
    assert len(used) == 4


@needs_hotcoco
def test_what_the_two_take_differently_is_left_to_pycocotools(tmp_path: Path, used: list[str]) -> None:
    keypoints = np.ones((17, 3)).cumsum(axis=0) * [3, 5, 0] + [0, 0, 2]
    people = [person(image + 1, image, keypoints, 5000.0) for image in (0, 1)]
    plain = [found(3, keypoints, 0.5), found(10, keypoints + 1, 0.25)]
    cases = [
        (people, [{**entry, "category_id": 2} for entry in plain]),
        (people, [{**entry, "bbox": [0, 0, 100, 100]} for entry in plain]),
        (people, [{**entry, "bbox": []} for entry in plain]),
    ]
    for entries, results in cases:
        reference, fast = both(write(tmp_path / "truth.json", entries, 2))
        assert same(fast.score(results), reference.score(results))
    assert used == []
    reference, fast = both(write(tmp_path / "truth.json", people, 2))
    assert fast.score(plain)["AP"] == pytest.approx(1.0)
    assert used == ["keypoints"]


@needs_hotcoco
@pytest.mark.parametrize("ids", [(0, 1), (5, 5)])
def test_ids_that_pycocotools_would_lose_people_by_matter_to_neither(tmp_path: Path, ids: Any, used: list[str]) -> None:
    keypoints = np.ones((17, 3)).cumsum(axis=0) * [3, 5, 0] + [0, 0, 2]
    people = [person(number, image, keypoints, 5000.0) for image, number in enumerate(ids)]
    reference, fast = both(write(tmp_path / "truth.json", people, 2))
    results = [found(3, keypoints, 0.5), found(10, keypoints, 0.25)]
    assert fast.score(results)["AP"] == reference.score(results)["AP"] == pytest.approx(1.0)
    assert used == ["keypoints"]


def test_a_missing_package_is_one_line_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_backend, "find_spec", lambda name: None)
    check_backend(EvaluationBackend.pycocotools)
    with pytest.raises(EvaluationError, match=r"^evaluation.backend=hotcoco: the package is not installed; pip"):
        CocoKeypointEvaluator("nowhere.json", backend=EvaluationBackend.hotcoco)
