import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules.config import DetectionsConfig, SoftNms
from datamodules.detections import DetectionError
from experiments.prediction.boxes import BoxesFromFile, TorchvisionDetector, whole_image
from experiments.prediction.inputs import Kind, Picture, Source


def picture(image_id: int = 1, name: str = "a.jpg") -> Picture:
    return Picture(image_id, name, Source(Kind.image, Path(name)), np.zeros((40, 60, 3), np.uint8), None, 0.0)


def write(tmp_path: Path, entries: Any) -> Path:
    file = tmp_path / "boxes.json"
    file.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return file


def test_boxes_by_id_and_by_name_are_clipped_and_sorted(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        [
            {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.2},
            {"file_name": "a.jpg", "category_id": 1, "bbox": [50, 30, 100, 100], "score": 0.9},
            {"image_id": "a.jpg", "bbox": [0, 0, 5, 5]},
            {"image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 1.0},
            {"image_id": 1, "category_id": 1, "bbox": [70, 0, 5, 5], "score": 1.0},
            {"image_id": 2, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 1.0},
        ],
    )
    boxes = BoxesFromFile(file, DetectionsConfig())
    found = boxes(picture())
    assert found.corners.tolist() == [[0, 0, 5, 5], [50, 30, 60, 40], [10, 10, 30, 30]]
    assert found.scores.tolist() == pytest.approx([1.0, 0.9, 0.2])
    assert len(boxes(picture(3, "c.jpg")).corners) == 0
    assert boxes.matched == 1
    stricter = BoxesFromFile(file, DetectionsConfig(score_threshold=0.5))(picture())
    assert len(stricter.corners) == 2


def test_soft_nms_is_the_runs(tmp_path: Path) -> None:
    entries = [{"image_id": 1, "bbox": [0, 0, 10, 10], "score": score} for score in (0.9, 0.8)]
    config = DetectionsConfig(soft_nms=SoftNms.gaussian, soft_nms_sigma=0.5)
    found = BoxesFromFile(write(tmp_path, entries), config)(picture())
    assert found.scores.tolist() == pytest.approx([0.9, 0.8 * np.exp(-1 / 0.5)])


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[{", "not complete JSON"),
        ({"a": 1}, "holds a dict at its top"),
        ([3], "number 0 is a int"),
        ([{"bbox": [0, 0, 1, 1]}], "neither an image_id nor a file_name"),
        ([{"image_id": 1, "bbox": [0, 0, 1]}], "number 0 has bbox"),
        ([{"image_id": 1, "bbox": [0, 0, 1, 1], "score": None}], "has score None"),
    ],
)
def test_files_of_another_form(tmp_path: Path, content: Any, line: str) -> None:
    with pytest.raises(DetectionError, match=line):
        BoxesFromFile(write(tmp_path, content), DetectionsConfig())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DetectionError, match=r"cannot be read .*; correct --boxes"):
        BoxesFromFile(tmp_path / "none.json", DetectionsConfig())


def test_the_whole_picture_is_one_person() -> None:
    found = whole_image(picture())
    assert (found.corners.tolist(), found.scores.tolist()) == ([[0, 0, 60, 40]], [1.0])


class Detector(torch.nn.Module):
    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        assert images[0].shape == (3, 40, 60)
        assert float(images[0].max()) <= 1
        boxes = torch.tensor([[1.0, 2, 30, 40], [0, 0, 9, 9], [5, 5, 99, 30], [0, 0, 3, 3]])
        return [{"boxes": boxes, "labels": torch.tensor([1, 3, 1, 1]), "scores": torch.tensor([0.5, 0.9, 0.8, 0.1])}]


def test_the_detectors_people_best_first() -> None:
    found = TorchvisionDetector(torch.device("cpu"), Detector)(picture())
    assert found.corners.tolist() == [[5, 5, 60, 30], [1, 2, 30, 40]]
    assert found.scores.tolist() == pytest.approx([0.8, 0.5])


def test_the_detector_sees_red_before_blue() -> None:
    class Blue(Detector):
        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            assert images[0].amax((1, 2)).tolist() == [0, 0, 1]
            return super().forward(images)

    blue = np.zeros((40, 60, 3), np.uint8)
    blue[..., 0] = 255  # OpenCV's order
    assert len(TorchvisionDetector(torch.device("cpu"), Blue)(picture()._replace(pixels=blue)).scores) == 2


def test_without_network_one_line_says_what_is_missing_and_where_it_belongs() -> None:
    def away() -> Any:
        from urllib.error import URLError

        raise URLError("Name or service not known")

    with pytest.raises(DetectionError, match=r"put fasterrcnn_resnet50_fpn_v2.*\.pth into .*checkpoints") as caught:
        TorchvisionDetector(torch.device("cpu"), away)
    assert "\n" not in str(caught.value)
