import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.skeleton import COCO
from experiments.prediction.boxes import Boxes
from experiments.prediction.inputs import Kind, Picture, Source
from experiments.prediction.outputs import JsonList, OutputError, Writer
from experiments.prediction.people import People

PHOTO = Source(Kind.image, Path("in/a.png"))
CLIP = Source(Kind.video, Path("in/clip.avi"))


def one_person(score: float = 0.5, masks: bool = False) -> People:
    keypoints = np.full((1, 17, 3), 10.5, np.float32)
    return People(
        keypoints, *np.array([[score], [1.0]], np.float32), None, [np.eye(20, 30, dtype=bool)] if masks else None
    )


def writer(folder: Path, sources: list[Source], **changes: bool) -> Writer:
    options = {"draws": True, "draws_boxes": True, "keeps_boxes": False, **changes}
    return Writer(folder, sources, COCO, min_score=0.3, **options)


def load(file: Path) -> list[dict]:
    return json.loads(file.read_text())


def test_lists_grow_line_by_line_and_are_json(tmp_path: Path) -> None:
    for count in range(3):
        entries = JsonList(tmp_path / "list.json")
        for number in range(count):
            entries.append({"n": number})
        entries.close()
        assert load(tmp_path / "list.json") == [{"n": number} for number in range(count)]


def test_everything_about_images_and_videos(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    boxes = Boxes(np.array([[1, 2, 11, 22]], np.float32), np.array([0.75], np.float32))
    with writer(tmp_path / "out", [PHOTO, CLIP], keeps_boxes=True) as out:
        out.write(Picture(1, "a.png", PHOTO, pixels, None, 0.0), one_person(masks=True), boxes)
        for frame in range(3):
            out.write(Picture(2 + frame, f"clip.avi#{frame}", CLIP, pixels, frame, 10.0), one_person(), None)
    folder = tmp_path / "out"
    assert {file.name for file in folder.iterdir()} == {
        "a.jpg", "clip.mp4", "predictions.json", "images.json", "masks.json", "boxes.json",
    }  # fmt: skip
    images = load(folder / "images.json")
    assert images[0] == {"id": 1, "file_name": "a.png", "width": 30, "height": 20}
    assert images[2] | {"frame": 1, "seconds": 0.1} == images[2]
    results = load(folder / "predictions.json")
    assert [result["image_id"] for result in results] == [1, 2, 3, 4]
    assert results[0]["keypoints"][:3] == [10.0, 10.0, 10.5]
    assert load(folder / "boxes.json") == [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "score": 0.75}]
    (mask,) = load(folder / "masks.json")
    assert mask["segmentation"]["size"] == [20, 30]
    capture = cv2.VideoCapture(str(folder / "clip.mp4"))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (3, 10)
    assert out.num_people == 4


def test_json_alone(tmp_path: Path) -> None:
    with writer(tmp_path, [PHOTO], draws=False) as out:
        out.write(Picture(1, "a.png", PHOTO, np.zeros((20, 30, 3), np.uint8), None, 0.0), one_person(), None)
    assert {file.name for file in tmp_path.iterdir()} == {"predictions.json", "images.json"}


def test_names_are_kept_apart_and_inputs_are_never_overwritten(tmp_path: Path) -> None:
    twins = [Source(Kind.image, Path(f"{folder}/a.png")) for folder in ("x", "y")]
    camera = Source(Kind.camera, Path("0"))
    with writer(tmp_path, [*twins, camera]) as out:
        assert list(out.names.values()) == ["a.jpg", "a-2.jpg", "camera0.mp4"]
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match=r"b\.jpg: an input of that name would be overwritten"):
        writer(tmp_path, [Source(Kind.image, tmp_path / "b.jpg")])
    with pytest.raises(OutputError, match="cannot be written"):
        writer(tmp_path / "b.jpg", [PHOTO])


def test_left_is_blue_and_right_is_orange_in_the_files(tmp_path: Path) -> None:
    keypoints = np.zeros((1, 17, 3), np.float32)
    for side, x in (("left", 50.5), ("right", 14.5)):
        wrist, elbow = (COCO.joints.index(f"{side}_{joint}") for joint in ("wrist", "elbow"))
        keypoints[0, wrist], keypoints[0, elbow] = (x, 10.5, 1.0), (x, 40.5, 1.0)
    people = People(keypoints, *np.array([[1.0], [1.0]], np.float32), None, None)
    pixels = np.zeros((48, 64, 3), np.uint8)
    with writer(tmp_path, [PHOTO, CLIP]) as out:
        out.write(Picture(1, "a.png", PHOTO, pixels, None, 0.0), people, None)
        out.write(Picture(2, "clip.avi#0", CLIP, pixels, 0, 10.0), people, None)
    capture = cv2.VideoCapture(str(tmp_path / "clip.mp4"))
    for drawn in (cv2.imread(str(tmp_path / "a.jpg")), capture.read()[1]):
        left, right = (drawn[25, x].astype(int) for x in (50, 14))
        assert left[0] > left[2] + 40  # blue, green, red
        assert right[2] > right[0] + 40
