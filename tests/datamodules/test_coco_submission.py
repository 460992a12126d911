"""The archive keeps COCO's rules, and the check finds every rule broken."""

import json
import zipfile

import pytest

from datamodules.coco_submission import SubmissionError, check_submission, write_submission

ENTRY = {"image_id": 1, "category_id": 1, "keypoints": [12.3456, 7.05, 0.98765] * 17, "score": 0.123456789}
STEM = "person_keypoints_test-dev2017_ssn-r50_results"


def test_written_by_the_rules(tmp_path):
    archive = write_submission(
        [{**ENTRY, "bbox": [1, 2, 3, 4]}, {**ENTRY, "image_id": 5}], tmp_path / "new", "ssn-r50", "test-dev2017"
    )
    assert archive.name == f"{STEM}.zip"
    assert [file.name for file in archive.parent.iterdir()] == [archive.name]
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == [f"{STEM}.json"]
        entries = json.loads(file.read(f"{STEM}.json"))
    assert entries[0] == {**ENTRY, "keypoints": [12.3, 7.0, 0.988] * 17}
    assert check_submission(archive, {1, 2, 5}) == 2
    assert check_submission(write_submission([], tmp_path, "ssn-r50", "test-dev2017")) == 0


def test_names_the_server_does_not_take(tmp_path):
    with pytest.raises(SubmissionError, match="algorithm name 'my_model'"):
        write_submission([ENTRY], tmp_path, "my_model", "test-dev2017")
    with pytest.raises(SubmissionError, match="test set 'test2017'"):
        write_submission([ENTRY], tmp_path, "ssn", "test2017")


def test_every_broken_rule_is_found(tmp_path):
    def broken(name=f"{STEM}.zip", inside=f"{STEM}.json", content=None, more=()):
        archive = tmp_path / name
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(inside, json.dumps([ENTRY]) if content is None else content)
            for other in more:
                file.writestr(other, "")
        return archive

    assert check_submission(broken()) == 1
    for archive, message in (
        (broken(name="results.zip"), "must be named"),
        (broken(name="person_keypoints_test2017_a_results.zip"), "test set 'test2017'"),
        (broken(name="person_keypoints_val2017_a_b_results.zip"), "algorithm name 'a_b'"),
    ):
        with pytest.raises(SubmissionError, match=message):
            check_submission(archive)
    for options, message in (
        ({"inside": "results.json"}, "alone, holds results.json"),
        ({"inside": f"folder/{STEM}.json"}, "alone, holds folder/"),
        ({"more": ["__MACOSX/x"]}, "alone, holds .*__MACOSX"),
        ({"content": "[{]"}, "is not JSON"),
        ({"content": "{}"}, "an object at its top"),
        ({"content": json.dumps([{**ENTRY, "category_id": 2}])}, "number 0 has category_id 2"),
        ({"content": json.dumps([{**ENTRY, "keypoints": [0] * 50}])}, "50 keypoint values"),
        ({"content": json.dumps([{**ENTRY, "image_id": 99}])}, "image id 99 is not"),
    ):
        with pytest.raises(SubmissionError, match=message):
            check_submission(broken(**options), {1})
    file = tmp_path / f"{STEM}.zip"
    file.write_bytes(b"no zip")
    with pytest.raises(SubmissionError, match="is no zip file"):
        check_submission(file)
