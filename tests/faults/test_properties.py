"""Properties of whatever is read: annotations of any content, overrides of any key and value (hypothesis)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules.annotations import AnnotationError, read_annotations
from datamodules.config import OnBadAnnotation
from datamodules.skeleton import COCO
from experiments.config import ConfigError, compose, flatten, to_plain
from experiments.merging import all_keys
from tests.faults import toy_config
from tests.faults.mutations import HOSTILE
from tests.faults.soundness import assert_sound

FEW = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

sides = st.integers(1, 200)
numbers = st.one_of(st.floats(-50, 250), st.integers(-50, 250), st.floats(allow_nan=True))
points = st.lists(st.tuples(numbers, numbers, st.integers(-1, 3)), min_size=16, max_size=18)
hostile = st.sampled_from(HOSTILE)
person = st.fixed_dictionaries(
    {"id": st.integers(1, 4), "image_id": st.integers(1, 3), "category_id": st.sampled_from([1, 1, 1, 2])},
    optional={
        "bbox": st.one_of(st.lists(numbers, min_size=4, max_size=4), hostile),
        "keypoints": st.one_of(points.map(lambda triples: [value for triple in triples for value in triple]), hostile),
        "area": st.one_of(numbers, hostile),
        "iscrowd": st.one_of(st.sampled_from([0, 1]), hostile),
        "num_keypoints": st.one_of(st.integers(0, 17), hostile),
        "segmentation": st.one_of(st.lists(st.lists(numbers, max_size=9), max_size=3), hostile),
    },
)
image = st.fixed_dictionaries(
    {"id": st.integers(1, 3), "width": sides, "height": sides},
    optional={"file_name": st.one_of(st.just("a.jpg"), st.text(max_size=6), hostile)},
)


@FEW
@given(images=st.lists(image, max_size=3), people=st.lists(person, max_size=4))
@pytest.mark.fault(2, "annotations of any content (hypothesis)", "one line, or columns that can be trained on")
def test_annotations_are_refused_in_one_line_or_sound(tmp_path: Path, images: list[Any], people: list[Any]) -> None:
    file = tmp_path / "annotations.json"
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    file.write_text(json.dumps({"images": images, "annotations": people, "categories": categories}))
    try:
        strict = read_annotations(file, tmp_path, COCO)
    except AnnotationError as error:
        message, strict = str(error), None
        assert message.startswith(str(file))
        assert "\n" not in message
    kept = read_annotations(file, tmp_path, COCO, on_bad=OnBadAnnotation.drop)
    assert_sound(kept)
    if strict is not None:
        assert strict.ids.tolist() == kept.ids.tolist()
        assert not any(complaint.severity == "error" for complaint in kept.complaints)


VALUES = st.one_of(
    st.integers().map(str), st.floats().map(str), st.booleans().map(str), st.text(max_size=12), st.just("null"),
    st.lists(st.integers(-3, 3), max_size=3).map(str), st.sampled_from(["sum", "sgd", "skip", "32-true", "{a: 1}"]),
)  # fmt: skip


@settings(FEW, max_examples=20)
@given(data=st.data(), value=VALUES)
@pytest.mark.fault(10, "any value for any key (hypothesis)", "refused in one line, or it arrives")
def test_an_override_is_refused_in_one_line_or_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject, value: str
) -> None:
    from omegaconf import OmegaConf

    from experiments.config import restore
    from experiments.schema import RunConfig

    with monkeypatch.context() as patch:
        toy_config.install(tmp_path, patch).write_text("model: {width: 16}\n")
        keys = [key for key in all_keys(OmegaConf.structured(RunConfig())) if key not in ("paper", "preset")]
        key = data.draw(st.sampled_from([*keys, "model.width", "model.note", "model.widht"]))
        try:
            config = compose("toy", None, [f"{key}={value}"])
        except ConfigError as error:
            message = str(error)
            assert "\n" not in message
            return
        assert restore(to_plain(config), "here") == config or "nan" in value.lower()
        arrived = flatten(to_plain(config)).get(key)
        default = flatten(to_plain(compose("toy"))).get(key)
        assert arrived is not None or default is None or value.strip() in ("", "null", "~", "Null", "NULL"), key
