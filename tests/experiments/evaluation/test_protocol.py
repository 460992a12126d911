"""The name of what was measured."""

import pytest

from experiments.config import compose
from experiments.evaluation.protocol import protocol_name


@pytest.mark.parametrize(
    ("overrides", "num_images", "expected"),
    [
        (["data.root=/data/coco"], 5000, "val2017-single-scale"),
        (["data.root=/data/coco", "model.flip_test=true"], 5000, "val2017-single-scale-flip"),
        (["data.root=/data/coco", "model.scales=[400, 800]"], 5000, "val2017-multi-scale"),
        (["data.root=/data/coco"], 100, "coco-val2017-100-images-single-scale"),
        (["data.root=/data/horses", "data.val_split=test"], 30, "horses-test-30-images-single-scale"),
        ([], 7, "rendered-val-7-images-single-scale"),
    ],
)
def test_only_the_whole_of_val2017_bears_its_name(overrides, num_images, expected):
    assert protocol_name(compose("inspose", "smoke", overrides), num_images) == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["data.root=/data/coco"], "val2017-single-scale-flip-gt-boxes"),
        (["data.root=/data/coco", "data.detections.file=found.json"], "val2017-single-scale-flip-det-boxes"),
        (["data.root=/data/coco", "model.decode.flip_test=false"], "val2017-single-scale-gt-boxes"),
    ],
)
def test_boxes_are_named(overrides, expected):
    assert protocol_name(compose("ssn", None, overrides), 5000) == expected
