import json

import numpy as np
import pytest

from datamodules.annotations import read_annotations
from datamodules.config import DetectionsConfig, SoftNms
from datamodules.detections import DetectionError, read_detections, soft_nms
from datamodules.skeleton import COCO


def found(image_id=1, bbox=(10, 5, 20, 30), score=0.5, **changes) -> dict:
    return {"image_id": image_id, "category_id": 1, "bbox": list(bbox), "score": score, **changes}


@pytest.fixture
def read(write_coco):
    root = write_coco([], {1: (40, 60), 2: (40, 60), 7: (40, 60)})

    def read(content, image_ids=None, **changes):
        file = root / "detections.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        annotations = read_annotations(
            root / "annotations/person_keypoints_val2017.json", root / "val2017", COCO, image_ids=image_ids
        )
        return read_detections(DetectionsConfig(file=str(file), **changes), annotations)

    return read


def test_boxes_by_photograph_best_first_and_clipped(read):
    boxes = read(
        [
            found(7, score=0.2),
            found(1, score=0.3),
            found(7, (50, 30, 40, 40), score=0.9),
            found(1, category_id=3, score=0.8),
            found(2, (70, 10, 5, 5), score=0.7),
            found(1, score=0.0),
        ]
    )
    assert boxes.image.tolist() == [0, 2, 2]
    assert boxes.boxes.tolist() == [[10, 5, 30, 35], [50, 30, 60, 40], [10, 5, 30, 35]]
    np.testing.assert_allclose(boxes.scores, [0.3, 0.9, 0.2])


def test_threshold_and_selected_photographs(read):
    content = [found(1, score=0.3), found(2, score=0.6), found(7, score=0.9)]
    assert read(content, score_threshold=0.5).image.tolist() == [1, 2]
    assert read(content, image_ids=[2]).image.tolist() == [0]
    assert read([]).boxes.shape == (0, 4)


def soft_nms_by_the_paper(boxes, scores, lower):
    """Bodla et al., Figure 2, with lists."""
    boxes, scores, result = list(enumerate(boxes)), list(scores), {}
    while boxes:
        best = max(range(len(boxes)), key=lambda i: scores[i])
        (index, box), score = boxes.pop(best), scores.pop(best)
        result[index] = score
        for i, (_, other) in enumerate(boxes):
            w = min(box[2], other[2]) - max(box[0], other[0])
            h = min(box[3], other[3]) - max(box[1], other[1])
            inter = max(w, 0) * max(h, 0)
            area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
            scores[i] *= lower(inter / (area - inter))
    return [result[i] for i in range(len(result))]


@pytest.mark.parametrize(
    "lower", [lambda iou: np.exp(-np.square(iou) / 0.5), lambda iou: np.where(iou > 0.3, 1 - iou, 1.0)]
)
def test_soft_nms_against_lists(lower):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 30, (12, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (12, 2))], axis=1)
    scores = rng.uniform(0, 1, 12)
    np.testing.assert_allclose(soft_nms(boxes, scores, lower), soft_nms_by_the_paper(boxes, scores, lower), rtol=1e-5)


def test_soft_nms_stays_within_a_photograph(read):
    twice = [found(1, score=0.9), found(2, score=0.8), found(1, score=0.6)]
    boxes = read(twice, soft_nms=SoftNms.gaussian)
    np.testing.assert_allclose(boxes.scores, [0.9, 0.6 * np.exp(-2.0), 0.8], rtol=1e-5)
    assert read(twice, soft_nms=SoftNms.linear).image.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not complete JSON"),
        ({"annotations": []}, "holds a dict"),
        ([found(), 3], "detection number 1 is a int"),
        ([found(image_id="a")], "detection number 0 has no whole number as its image_id"),
        ([found(bbox=[1, 2, 3])], r"bbox \[1, 2, 3\], not four"),
        ([found(score=float("nan"))], "score nan, not a finite"),
        ([found(bbox=[1, 2, 3, 10**400])], r"bbox \[1, 2, 3, 1000*\], not four"),
        ([found(1), found(99), found(98)], r"image id 98 \(and 1 more\) is not in the evaluated split"),
        ([found(category_id=3)], r"none of its 1 detections has category_id 1 \(person\)"),
    ],
)
@pytest.mark.fault(24, "detections of another split, wrong ids, damaged", "named; refused")
def test_faults_are_named(read, content, message):
    with pytest.raises(DetectionError, match=message) as raised:
        read(content)
    assert str(raised.value).count("\n") == 0
    assert "detections.json" in str(raised.value)


@pytest.mark.fault(24, "no detection file", "named; refused")
def test_a_missing_file_is_named(write_coco):
    root = write_coco([])
    annotations = read_annotations(root / "annotations/person_keypoints_val2017.json", root / "val2017", COCO)
    with pytest.raises(DetectionError, match=r"nowhere\.json: cannot be read .*data\.detections\.file"):
        read_detections(DetectionsConfig(file="nowhere.json"), annotations)
