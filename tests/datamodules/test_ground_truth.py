import json
from pathlib import Path

import pytest

from datamodules.ground_truth import EvaluationError, read_ground_truth
from datamodules.skeleton import COCO


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
        (
            '{"images": [{"id": 7}], "categories": [{"id": 1, "name": "person"}],'
            ' "annotations": [{"id": 9, "image_id": 7, "category_id": 1, "keypoints": ' + str([0] * 51) + "}]}",
            "annotation 9: 'bbox' is missing",
        ),
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
