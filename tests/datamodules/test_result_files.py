import json

import pytest

from datamodules.result_files import ResultFileError, read_results, write_whole
from datamodules.skeleton import COCO

ENTRY = {"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51, "score": 0.5}


def test_entries_come_back_as_they_are(tmp_path):
    file = tmp_path / "results.json"
    entries = [{**ENTRY, "bbox": [0, 0, 1, 1]}, {**ENTRY, "score": 2, "image_id": 7}]
    file.write_text(json.dumps(entries))
    assert read_results(file, COCO) == read_results(file, COCO, {1, 7}) == entries
    file.write_text("[]")
    assert read_results(file, COCO, set()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": []}', "an object at its top"),
        ("[1]", "number 0 is a int, not an object"),
        (json.dumps([ENTRY, {**ENTRY, "image_id": "1"}]), "number 1 has no whole number as its image_id"),
        (json.dumps([{**ENTRY, "score": None}]), "no finite number as its score"),
        (json.dumps([{**ENTRY, "score": float("nan")}]), "no finite number as its score"),
        (json.dumps([{**ENTRY, "score": 10**400}]), "no finite number as its score"),
        (json.dumps([{**ENTRY, "keypoints": [0.0] * 34}]), "has 34 keypoint values, 51 are expected"),
        (json.dumps([{**ENTRY, "keypoints": [None] * 51}]), "no list of finite numbers"),
        (json.dumps([ENTRY, {**ENTRY, "image_id": 9}, {**ENTRY, "image_id": 8}]), r"image id 8 \(and 1 more\) is not"),
        (json.dumps([ENTRY])[:-20], "not complete JSON"),
    ],
)
def test_faults_are_named(content, message, tmp_path):
    file = tmp_path / "results.json"
    file.write_text(content)
    with pytest.raises(ResultFileError, match=rf"results\.json: .*{message}") as caught:
        read_results(file, COCO, {1})
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ResultFileError, match="cannot be read"):
        read_results(tmp_path / "none.json", COCO)


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    write_whole(file, "[1]")
    before = file.stat().st_ino
    write_whole(file, "[2]")
    assert file.read_text() == "[2]"
    assert file.stat().st_ino != before

    def full(self, text):
        with self.open("w") as stream:
            stream.write(text[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "[3]")
    assert file.read_text() == "[2]"
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
