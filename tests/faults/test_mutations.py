"""Random mutations of a valid COCO file, YAML and checkpoint: never a traceback or a hang, never wrong and silent.

60 of each; with ``FAULTS=all``, as ``make test-faults`` sets it, 500.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from datamodules.annotations import AnnotationError, read_annotations
from datamodules.config import OnBadAnnotation
from datamodules.skeleton import COCO
from experiments.checkpoint import CheckpointError, read_checkpoint
from experiments.config import ConfigError, compose, flatten, to_plain
from tests.faults.mutations import mutate_bytes, mutate_value
from tests.faults.soundness import assert_sound, is_id, people_to_complain_of

COUNT = 500 if os.environ.get("FAULTS") == "all" else 60
SECONDS = 20.0
"""A mutation that takes longer hangs."""


def tally(name: str, one: Callable[[random.Random], str], record: Any) -> Counter[str]:
    """Run ``one`` on ``COUNT`` seeds, each with its own outcome; print and record how many came to what."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for seed in range(COUNT):
        began = time.monotonic()
        try:
            outcomes[one(random.Random(seed))] += 1
        except Exception as error:
            raise AssertionError(f"{name}, mutation {seed}: {type(error).__name__}: {error}") from error
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < SECONDS
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    line = (
        f"{COUNT} mutations of {name}: {told}; no traceback, no hang (slowest {slowest:.2f} s), none wrong in silence"
    )
    print(line)
    record("seen", line)
    return outcomes


def ids_of(entry: Any) -> list[Any]:
    """Its own and its image's, as far as it has them."""
    values = [entry.get("id"), entry.get("image_id")] if isinstance(entry, dict) else []
    return [value if is_id(value) else None for value in values]


def one_line(error: Exception) -> str:
    assert str(error), "an empty message"
    assert "\n" not in str(error), str(error)
    return "refused"


@pytest.mark.fault(1, "random mutations of a COCO JSON", "refused, repaired and said, or sound; no traceback, no hang")
def test_annotations(write_coco: Any, person: Any, record_property: Any) -> None:
    crowd = person(3, 2, iscrowd=1, keypoints=[0] * 51, num_keypoints=0)
    crowd["segmentation"] = {"size": [40, 60], "counts": [100, 200, 2100]}
    root = write_coco([person(1), person(2, 2), crowd], {1: (40, 60), 2: (40, 60)})
    file = root / "annotations" / "person_keypoints_val2017.json"
    document = json.loads(file.read_text())
    document["categories"][0]["keypoints"] = list(COCO.joints)
    original = json.dumps(document).encode()

    def one(chance: random.Random) -> str:
        by_value = chance.random() < 0.7
        file.write_bytes(
            json.dumps(mutate_value(document, chance)).encode() if by_value else mutate_bytes(original, chance)
        )
        on_bad = chance.choice(list(OnBadAnnotation))
        try:
            annotations = read_annotations(file, root / "val2017", COCO, on_bad=on_bad)
        except AnnotationError as error:
            return one_line(error)
        assert_sound(annotations)
        told = {complaint.id for complaint in annotations.complaints}
        images = {complaint.id for complaint in annotations.complaints if complaint.kind == "image"}
        unsaid = [
            entry
            for entry in people_to_complain_of(json.loads(file.read_bytes()))
            if not told & {None, *ids_of(entry)[:1]} and not images & {*ids_of(entry)[1:]}
        ]
        assert not unsaid, f"accepted in silence: {unsaid}"
        return "accepted with complaints" if told else "still sound"

    outcomes = tally("a COCO JSON", one, record_property)
    assert outcomes["refused"] > COUNT / 4


YAML = """
model: {width: 16, fuse: sum, depths: [1, 2], note: text}
optimizer: {name: sgd, lr: 0.5, milestones: [1, 2], clip_norm: 35.0, schedule: multistep}
data:
  size: 64
  train_size: [64, 96]
  mean: [0.5, 0.5, 0.5]
  rendered: {size: 64, train_images: 20}
  augmentation: {flip: 0.5, scale: [0.5, 1.5]}
trainer: {max_epochs: 3, precision: 32-true, deterministic: true, val_every_steps: null}
presets:
  small:
    about: a small one
    model: {width: 4}
    trainer: {max_epochs: 1}
"""


@pytest.mark.fault(10, "random mutations of a YAML", "refused in one line, or every value in it arrives; nothing runs")
def test_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any) -> None:
    from tests.faults import toy_config

    file = toy_config.install(tmp_path, monkeypatch)
    document = yaml.safe_load(YAML)

    def one(chance: random.Random) -> str:
        if chance.random() < 0.5:
            text = yaml.safe_dump(mutate_value(document, chance), sort_keys=False, allow_unicode=False)
            file.write_text(text, errors="surrogatepass")
        else:
            file.write_bytes(mutate_bytes(YAML.encode(), chance))
        try:
            config = compose("toy", "small")
        except ConfigError as error:
            return one_line(error)
        values = yaml.safe_load(file.read_text())
        preset = values.pop("presets")["small"]
        preset.pop("about", None)
        arrived = flatten(to_plain(config))
        for key, value in {**flatten(values), **flatten(preset)}.items():
            if value not in (None, {}):
                assert is_same(arrived[key], value), f"{key}: {value!r} became {arrived[key]!r}"
        return "accepted, every value as written"

    outcomes = tally("a YAML", one, record_property)
    assert outcomes["refused"] > COUNT / 4


def is_same(arrived: Any, written: Any) -> bool:
    if isinstance(arrived, list) and isinstance(written, list):
        return len(arrived) == len(written) and all(map(is_same, arrived, written))
    if type(arrived) in (int, float) and isinstance(written, str):  # "1" is a number where one is asked for
        return arrived == float(written)
    return arrived == written or str(arrived) == str(written)


@pytest.mark.fault(14, "random mutations of a checkpoint", "refused in one line, or every value in it is intact")
def test_checkpoint(tmp_path: Path, record_property: Any) -> None:
    file = tmp_path / "last.ckpt"
    content = {
        "run": {"paper": "ssn", "config": {"seed": 3, "name": "x"}, "samples_per_step": 4},
        "hyper_parameters": {"skeleton": {"name": "coco", "joints": ["a", "b"]}},
        "state_dict": {"weight": torch.arange(600.0), "bias": torch.ones(3, 5), "seen": torch.tensor(7)},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.rand(600)}}, "lr": 0.1}],
        "global_step": 9,
    }
    torch.save(content, file)
    original = file.read_bytes()

    def one(chance: random.Random) -> str:
        file.write_bytes(mutate_bytes(original, chance))
        try:
            read = read_checkpoint(file)
        except CheckpointError as error:
            return one_line(error)
        assert is_equal(read, content), "a damaged value was accepted"
        return "accepted, every value intact"

    outcomes = tally("a checkpoint", one, record_property)
    assert outcomes["refused"] > COUNT / 2


def is_equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_equal(value, second[key]) for key, value in first.items())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(is_equal, first, second))
    return bool(first == second)
