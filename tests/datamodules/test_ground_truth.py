import json
from pathlib import Path
from typing import Any

import pytest

from datamodules.config import OnBadAnnotation
from datamodules.ground_truth import EvaluationError, read_ground_truth
from datamodules.skeleton import COCO

PERSON = '{"id": 9, "image_id": 7, "category_id": 1, "keypoints": %s, "bbox": %s}'


def with_annotations(entries: str) -> str:
    categories = '[{"id": 1, "name": "person"}]'
    return f'{{"images": [{{"id": 7}}], "categories": {categories}, "annotations": [{entries}]}}'.replace("'", '"')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ("[]", "expected a JSON object"),
        ('{"images": [], "annotations": {}, "categories": []}', "list 'annotations' is missing"),
        ('{"images": [], "annotations": [], "categories": []}', "one category 'person' is expected"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1}]}', "image id 7 is not in the file"),
        (
            '{"images": [{"id": 7}], "categories": [{"id": 1, "name": "person"}],'
            ' "annotations": [{"id": 9, "image_id": 7, "category_id": 1, "keypoints": [1, 2, 2]}]}',
            "annotation 9: 3 keypoint values, skeleton coco asks for 51",
        ),
        ('{"images": [3], "annotations": [], "categories": []}', "image entry number 0 has no whole number as its id"),
        ('{"images": [{}], "annotations": [], "categories": []}', "image entry number 0 has no whole number as its id"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}, 3]}',
            "category entry number 1 has no whole number as its id",
        ),
        (with_annotations("7"), "annotation entry number 0 is no object"),
        (with_annotations('{"id": 9, "image_id": 7}'), "annotation 9: category_id is None, no whole number"),
        (with_annotations('{"id": 9, "category_id": 1}'), "annotation 9: image_id is None, no whole number"),
        (
            with_annotations(PERSON % (["x"] * 51, [0, 0, 1, 1])),
            "annotation 9: 'keypoints' holds what is no finite number",
        ),
        (with_annotations(PERSON % (5, [0, 0, 1, 1])), "annotation 9: 'keypoints' is no list"),
    ],
)
def test_unusable_ground_truth_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "truth.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(EvaluationError) as caught:
        read_ground_truth(file, [7], COCO)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_people_of_the_wanted_images_are_kept_and_completed(tmp_path: Path) -> None:
    keypoints = [5, 6, 2, 7, 8, 1, *[0] * 45]
    person = {"category_id": 3, "bbox": [1, 2, 10, 20], "keypoints": keypoints}
    content = {
        "images": [{"id": 2, "file_name": "b.jpg"}, {"id": 1, "file_name": "a.jpg"}, {"id": 4}],
        "categories": [{"id": 3, "name": "person"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {"id": 10, "image_id": 1, **person},
            {"id": 11, "image_id": 1, **person, "area": 7.5, "iscrowd": 1, "num_keypoints": 0},
            {"id": 12, "image_id": 2, "category_id": 5, "bbox": [0, 0, 1, 1]},
            {"id": 13, "image_id": 4, **person},
        ],
    }
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    found = read_ground_truth(file, [2, 1], COCO)
    assert (found.category_id, found.image_ids, found.known_ids) == (3, [1, 2], {1, 2, 4})
    assert found.file_names == {1: "a.jpg", 2: "b.jpg", 4: ""}
    completed = [(one["id"], one["area"], one["iscrowd"], one["num_keypoints"]) for one in found.people(1)]
    assert completed == [(10, 200, 0, 2), (11, 7.5, 1, 0)]
    assert found.people(2) == []
    assert sorted(found.index.anns) == [10, 11]


@pytest.mark.parametrize("ids", [[0, 1], [5, 5], [-1, 3], [None, 2], ["a", "b"]])
def test_people_whose_ids_would_be_lost_are_numbered_anew(tmp_path: Path, ids: list[Any]) -> None:
    """pycocotools takes a match with the id 0 for none, and looks people up by their ids."""
    person = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "keypoints": [5, 6, 2] * 17}
    entries = [{**person, "id": number} for number in ids]
    content = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "person"}], "annotations": entries}
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    assert [one["id"] for one in read_ground_truth(file, None, COCO).people(1)] == [1, 2]
    del entries[0]["id"]
    file.write_text(json.dumps(content))
    assert [one["id"] for one in read_ground_truth(file, None, COCO).people(1)] == [1, 2]


NOBODY = [0] * 51
SOMEBODY = [*[20, 30, 2], *[50, 90, 1], *[0] * 45]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"bbox": None}, {"bbox": [20, 30, 30, 60], "area": 1800}),
        ({"bbox": [1, 2]}, {"bbox": [20, 30, 30, 60], "area": 1800}),
        ({"area": None}, {"area": 200}),
        ({"area": "large"}, {"area": 200}),
        ({"num_keypoints": None}, {"num_keypoints": 2}),
        ({"num_keypoints": 7}, {"num_keypoints": 7}),
        ({"iscrowd": 1, "keypoints": None}, {"keypoints": NOBODY, "num_keypoints": 0, "iscrowd": 1}),
        ({"bbox": None, "keypoints": NOBODY}, None),
    ],
)
@pytest.mark.fault(3, "what training repairs, in the evaluation", "completed alike; figures")
def test_what_is_repaired_for_training_is_completed_for_the_evaluation(
    tmp_path: Path, changes: dict[str, Any], found: dict[str, Any] | None
) -> None:
    person = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "keypoints": SOMEBODY, **changes}
    content = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "person"}], "annotations": [person]}
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    people = read_ground_truth(file, None, COCO).people(1)
    if found is None:
        assert people == []
    else:
        assert {key: people[0][key] for key in found} == found


@pytest.mark.fault(2, "annotations that are dropped in training, in the evaluation", "left out there too")
def test_what_is_dropped_is_not_scored(tmp_path: Path) -> None:
    person = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "keypoints": SOMEBODY}
    bad = [{"keypoints": [1, 2, 2]}, {"keypoints": None}, {"image_id": None}, {"category_id": "1"}]
    entries: list[Any] = [{**person, "id": 5 + n, **changes} for n, changes in enumerate([{}, *bad])]
    content = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "person"}], "annotations": [*entries, 3]}
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(content))
    kept = read_ground_truth(file, None, COCO, OnBadAnnotation.drop)
    assert [one["id"] for one in kept.people(1)] == [5]
