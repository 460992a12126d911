"""Published figures stand beside ours only for the same model under the same protocol; flip and scales by one name."""

import pytest

from experiments.config import ConfigError, compose
from experiments.evaluation.flip_and_scales import flip_override, scales_override
from experiments.evaluation.protocol import Conditions, conditions
from experiments.evaluation.published import published
from lightning_modules.papers import PAPERS, load

VAL = Conditions("val2017", "none", False, "single")


def test_the_row_of_the_same_model_is_found():
    found = published(compose("inspose"), VAL)
    assert [row.label for row in found.rows] == ["Table 1, disk offset + heatmap"]  # the others repeat its figures
    assert found.rows[0].figures["AP"] == 63.1
    assert found.note == ""
    found = published(compose("inspose", None, ["model.kpnet_depth=1"]), VAL)
    assert [(row.label, row.figures["AP"]) for row in found.rows] == [("Table 2, 1", 54.7)]
    multi = VAL._replace(split="test-dev2017", scales="multi")
    found = published(compose("inspose", None, ["model.scales=[400, 800]", "model.flip_test=true"]), multi)
    assert [row.figures["AP"] for row in found.rows] == [67.1]


def test_another_training_of_the_same_model_is_said():
    found = published(compose("inspose", "long"), VAL)  # 100 epochs, where Table 1 has 36
    assert [row.figures["AP"] for row in found.rows] == [63.1]
    assert found.note == (
        "not trained as Table 1, disk offset + heatmap: optimizer.milestones=[75.0, 90.0], trainer.max_epochs=100"
    )
    of_test_dev = VAL._replace(split="test-dev2017")  # Table 5 has 100 epochs
    assert published(compose("inspose", "long"), of_test_dev).note == ""
    found = published(compose("ssn", None, ["data.limit_train=9"]), Conditions("val2017", "det", True, "single"))
    assert found.note.endswith("person AP 56.4; not trained as Table 1, SSN: data.limit_train=9")


@pytest.mark.parametrize(
    "other",
    [
        VAL._replace(split="coco_mini-val2017-120-images"),
        VAL._replace(flip=True),
        VAL._replace(scales="multi"),
        VAL._replace(boxes="gt"),
        VAL._replace(boxes="det"),
    ],
)
def test_another_protocol_shows_nothing(other):
    found = published(compose("inspose"), other)
    assert found.rows == []
    assert found.note.startswith("the paper publishes no figure of this protocol")
    assert other.split in found.note


def test_another_model_is_named_by_what_differs():
    found = published(compose("inspose", None, ["model.tower_depth=2"]), VAL)
    assert found.rows == []
    assert found.note.endswith("the nearest, Table 1, disk offset + heatmap, differs in model.tower_depth")


def test_boxes_are_said_and_stages_kept_apart():
    det = Conditions("val2017", "det", True, "single")
    found = published(compose("graph_pcnn"), det)
    assert found.rows[0].figures == {"stage1/AP": 71.3, "AP": 72.6}
    assert found.note == "published with boxes of: detector, 56.4 AP"
    assert published(compose("graph_pcnn"), det._replace(boxes="gt")).rows == []
    assert published(compose("ssa_refiner"), VAL).rows == []


def test_a_column_of_another_test_is_not_taken_for_the_rows_own():
    found = published(compose("ssa", "proxy"), VAL)  # printed beside it: 54.7 with refinement
    assert [(row.label, row.figures["AP"]) for row in found.rows] == [("Table 4, fourth", 34.1)]
    ours = Conditions("val2017", "none", False, "multi")
    assert published(compose("openpose_ssal", "baseline"), ours).rows[0].figures == {"AP": 57.7}
    assert published(compose("openpose_ssal", "baseline"), ours._replace(split="minival")).rows[0].figures["AP"] == 58.4


def test_what_a_configuration_tests():
    assert conditions(compose("openpose_ssal", None, ["data.root=/data/coco"]), 5000).scales == "multi"
    assert conditions(compose("ssn", None, ["data.root=/data/coco"]), 5000) == ("val2017", "gt", True, "single")
    assert conditions(compose("ssn", None, ["data.root=/data/coco"]), 4999).split == "coco-val2017-4999-images"


def test_flip_and_scales_find_their_keys():
    config = {paper: load(PAPERS[paper].config) for paper in ("inspose", "ssn", "openpose_ssal", "ssa")}
    assert flip_override("inspose", config["inspose"], "on") == "model.flip_test=true"
    assert flip_override("ssn", config["ssn"], "off") == "model.decode.flip_test=false"
    assert scales_override("inspose", config["inspose"], "single") == "model.scales=[]"
    assert scales_override("inspose", config["inspose"], "paper") == "model.scales=[400, 600, 800, 1000, 1200, 1400]"
    assert scales_override("openpose_ssal", config["openpose_ssal"], "single") == "model.decode.scales=[1.0]"
    assert scales_override("openpose_ssal", config["openpose_ssal"], "0.5,1") == "model.decode.scales=[0.5,1]"
    with pytest.raises(ConfigError, match="ssa has no flip test"):
        flip_override("ssa", config["ssa"], "on")
    with pytest.raises(ConfigError, match="--scales big: is single, paper, or numbers"):
        scales_override("inspose", config["inspose"], "big")
