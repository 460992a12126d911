"""Composing a run's configuration: who wins, and what each mistake is told."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, List, Optional

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments import config as config_module
from experiments.config import (
    ConfigError,
    compose,
    fingerprint,
    flatten,
    list_papers,
    list_presets,
    load_config,
    restore,
    to_plain,
)
from experiments.merging import read_yaml
from lightning_modules.papers import Paper

ROOT = Path(__file__).parents[2]


class Fuse(Enum):
    sum = "sum"
    concat = "concat"


@dataclass
class LossWeights:
    heatmap: float = 1.0


@dataclass
class ToyConfig:
    width: int = 8
    fuse: Fuse = Fuse.sum
    depths: List[int] = field(default_factory=lambda: [1, 2])
    note: Optional[str] = None
    loss_weights: LossWeights = field(default_factory=LossWeights)


RECIPE = """
model: {width: 16}
optimizer: {lr: 0.5, milestones: [1, 2]}
presets:
  small:
    about: a small one
    model: {width: 4}
    data:
      rendered: {size: 64}
  empty:
    about: nothing of its own
    trainer:
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A paper with a recipe of its own; returns its YAML file."""
    monkeypatch.setattr(config_module, "CONFIGS", tmp_path)
    monkeypatch.setattr(config_module, "PAPERS", {"toy": Paper("A toy", "toy:Config", "toy:Module")})
    monkeypatch.setattr(config_module, "load", lambda reference: ToyConfig)
    file = tmp_path / "toy.yaml"
    file.write_text(RECIPE)
    return file


def test_later_sources_win_and_untouched_keys_keep_their_defaults(toy: Path) -> None:
    config = compose("toy")
    assert isinstance(config.model, ToyConfig)
    assert (config.model.width, config.optimizer.lr, config.optimizer.momentum) == (16, 0.5, 0.9)
    assert config.data.rendered is None

    config = compose("toy", "small", ["model.fuse=concat", "optimizer.milestones=[5]", "optimizer.lr=1e-4"])
    assert (config.model.width, config.model.fuse, config.optimizer.lr) == (4, Fuse.concat, 1e-4)
    assert config.optimizer.milestones == [5.0]
    assert config.data.rendered is not None
    assert (config.data.rendered.size, config.data.rendered.train_images) == (64, 2000)
    assert compose("toy", "small", ["model.width=1", "model.width=2"]).model.width == 2
    assert compose("toy", "small", ["data.rendered=null"]).data.rendered is None
    assert compose("toy", "empty").model.width == 16
    assert list_presets("toy") == {"small": "a small one", "empty": "nothing of its own"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.root=/data/a=b", "/data/a=b"),
        ("data.root=2017", "2017"),
        ("data.root=1e3", "1e3"),
        ("data.root=2017-01-01", "2017-01-01"),
        ("data.root=off", "off"),
        ("data.root=null", None),
        ("data.root='null'", "null"),
        ("trainer.devices=2", 2),
        ("trainer.devices='0,2'", "0,2"),
        ("trainer.deterministic=true", True),
        ("data.train_image_ids=[3, 4]", [3, 4]),
        ("model.note=x: y", "x: y"),
        ("wandb.tags=[a, b]", ["a", "b"]),
    ],
)
def test_a_value_becomes_what_its_key_asks_for(toy: Path, override: str, expected: Any) -> None:
    if override == "model.note=x: y":
        override = "model.note='x: y'"
    key = override.split("=")[0]
    assert flatten(to_plain(compose("toy", None, [override])))[key] == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=1", "command line: optimizer.lrr: no such key; did you mean optimizer.lr?"),
        ("lr=1", "command line: lr: no such key; did you mean optimizer.lr?"),
        ("model.widht=1", "command line: model.widht: no such key; did you mean model.width?"),
        (
            "model.loss_weights.heatmaps=1",
            "model.loss_weights.heatmaps: no such key; did you mean model.loss_weights.heatmap?",
        ),
        ("data.rendered.sizes=1", "data.rendered.sizes: no such key; did you mean data.rendered.size?"),
        ("zzzz=1", "command line: zzzz: no such key"),
        ("optimizer.lr=fast", "optimizer.lr: expected a number, got 'fast'"),
        ("model.width=1.5", "model.width: expected a whole number, got 1.5"),
        ("model.depths=3", "model.depths: expected a list of whole numbers, got 3"),
        ("model.depths=[1, [2]]", "model.depths: expected a list of whole numbers, got [1, [2]]"),
        ("model.depths=[a]", "model.depths: expected a list of whole numbers, got ['a']"),
        ("model.width=null", "model.width: expected a whole number, got None"),
        ("model.fuse=product", "model.fuse: expected one of sum, concat, got 'product'"),
        ("optimizer=3", "optimizer: is a section; set one of its keys, for example optimizer.name"),
        ("optimizer.lr={a: 1}", "optimizer.lr: expected a number, got a mapping"),
        ("data.limit_val=many", "data.limit_val: expected a whole number or null, got 'many'"),
        ("data.batch_size=0", "data.batch_size: must be at least 1, got 0"),
        ("data.train_size=[9, 3]", "data.train_size: must be [low, high], from 1, got [9, 3]"),
        ("data.augmentation.flip=2", "data.augmentation.flip: is a probability, got 2.0"),
        ("optimizer.lr=.inf", "optimizer.lr: must be positive, got inf"),
        ("optimizer.momentum=-0.1", "optimizer.momentum: must not be negative, got -0.1"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay: must not be negative, got -1.0"),
        ("optimizer.gamma=.nan", "optimizer.gamma: must be positive, got nan"),
        ("optimizer.warmup_steps=-1", "optimizer.warmup_steps: must not be negative, got -1"),
        ("optimizer.clip_norm=0", "optimizer.clip_norm: must be positive, or null, got 0.0"),
        ("trainer.devices=0", 'trainer.devices: must be a number from 1, auto, or indices such as "0,2", got 0'),
        ("trainer.devices=two", 'trainer.devices: must be a number from 1, auto, or indices such as "0,2", got '),
        ("trainer.devices=0;1", 'trainer.devices: must be a number from 1, auto, or indices such as "0,2", got '),
        ("seed=-1", "seed: must lie in [0, 2**32), got -1"),
        ("trainer.val_every_steps=0", "trainer.val_every_steps: must be at least 1, or null, got 0"),
        ("trainer.checkpoint_every_steps=0", "trainer.checkpoint_every_steps: must be at least 1, or null, got 0"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches: must be at least 1, or null, got 0"),
        ("trainer.precision=bf16", "trainer.precision: must be one of 32-true, bf16-mixed"),
        ("trainer.ema_decay=1.0", "trainer.ema_decay: must lie in (0, 1), or be null, got 1.0"),
        ("trainer.on_nan=ignore", "trainer.on_nan: expected one of stop, skip, got 'ignore'"),
        ("trainer.max_nan_skips=-1", "trainer.max_nan_skips: must not be negative, got -1"),
        ("name=../up", "name: must be a plain folder name"),
        ("model.width", "'model.width' is not key=value"),
        ("=3", "'=3' is not key=value"),
        ("data.root=[1", "command line: data.root: "),
        ("data.root=${oc.env:HOME}", "interpolations are not allowed"),
        ("data.root=!!python/object/apply:os.system [echo]", "YAML tags are not allowed"),
        ("paper=toy", "give it as --paper"),
    ],
)
@pytest.mark.fault(10, "unknown key, wrong type, senseless value, tags", "one line with the nearest key")
def test_a_wrong_override_is_told_in_one_line(toy: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose("toy", None, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.fault(10, "unknown paper or preset", "one line with the nearest")
def test_unknown_papers_and_presets_are_told_with_the_known_ones(toy: Path) -> None:
    with pytest.raises(ConfigError, match=r"no paper 'toi'; did you mean toy\? \(papers: toy\)"):
        compose("toi")
    with pytest.raises(ConfigError, match=r"toy has no preset 'smal'; did you mean small\? \(presets: small, empty\)"):
        compose("toy", "smal")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {width: 1}\noptimizer: {lrr: 2}", "optimizer.lrr: no such key; did you mean optimizer.lr?"),
        ("a: 1\na: 2", ":2: key 'a' stands here twice"),
        ("a: &x [1]\nb: *x", "YAML aliases are not allowed"),
        ("a: &x [*x]", "YAML aliases are not allowed"),
        ("model:\n  note: ${model.note}", ":2: interpolations are not allowed"),
        ("a: !!python/object/apply:os.system ['touch executed']", ":1: YAML tags are not allowed"),
        ("a: !custom 3", ":1: YAML tags are not allowed"),
        ("a: [1", ":1: "),
        ("- 1", "expected the sections"),
    ],
)
@pytest.mark.fault(10, "YAML file with tags, aliases, loops, code", "one line with its place; nothing runs")
def test_a_wrong_file_is_told_in_one_line_and_nothing_in_it_runs(toy: Path, text: str, message: str) -> None:
    toy.write_text(text)
    with pytest.raises(ConfigError) as caught:
        compose("toy")
    assert message in str(caught.value)
    assert "toy.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("executed").exists()
    toy.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        compose("toy")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
@pytest.mark.fault(10, "any text as YAML (hypothesis)", "plain data or one line")
def test_reading_yaml_yields_plain_data_or_one_line(text: str) -> None:
    try:
        value = read_yaml(text, "here")
    except ConfigError as error:
        message = str(error)
        assert "\n" not in message
    else:
        assert value == yaml.safe_load(text)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(["model.width=3", "optimizer.lr=0.25", "seed=7", "trainer.max_epochs=2"]),
    lr=st.floats(1e-6, 10),
)
def test_the_order_of_independent_overrides_is_immaterial_and_values_survive_a_round_trip(
    toy: Path, order: list[str], lr: float
) -> None:
    config = compose("toy", "small", [*order, f"optimizer.lr={lr!r}"])
    assert config.optimizer.lr == lr
    assert (config.model.width, config.seed, config.trainer.max_epochs) == (3, 7, 2)
    stored = toy.with_name("config.yaml")
    stored.write_text(yaml.safe_dump(to_plain(config)))
    assert load_config(stored) == config
    assert fingerprint(config) == fingerprint(load_config(stored))


def test_the_fingerprint_tells_experiments_apart_but_not_machines(toy: Path) -> None:
    plain = fingerprint(compose("toy"))
    machines = ("trainer.devices=2", "data.num_workers=9", "data.worker_timeout=9", "wandb.mode=offline", "name=x")
    for machine in (*machines, "output.root=y"):
        assert fingerprint(compose("toy", None, [machine])) == plain
    for scientific in ("model.width=9", "seed=1", "optimizer.lr=0.3", "data.limit_train=3", "trainer.max_epochs=3"):
        assert fingerprint(compose("toy", None, [scientific])) != plain


def test_data_are_known_by_their_name_wherever_they_lie(toy: Path) -> None:
    def known(*overrides: str) -> str:
        return fingerprint(compose("toy", None, list(overrides)))

    assert (
        known("data.root=/datasets/coco") == known("data.root=/scratch/17/coco/") != known("data.root=/datasets/crowd")
    )
    assert known() != known("data.root=/datasets/coco")
    boxes = [f"data.detections.file={file}" for file in ("/a/boxes.json", "/b/boxes.json", "/a/others.json")]
    assert known(boxes[0]) == known(boxes[1]) != known(boxes[2])


def test_top_down_runs_of_before_the_keys_of_crops_keep_their_crops() -> None:
    """And whole-image runs, to which the keys mean nothing, still equal a new one."""
    keys = ("crop_fill", "crop_shrink", "joints_outside")
    for paper, before in (("ssn", ["mean", "area", "drop"]), ("inspose", ["black", "bilinear", "keep"])):
        stored = to_plain(compose(paper))
        assert restore(stored, "here") == compose(paper)
        for key in keys:
            stored["data"].pop(key)
        restored = restore(stored, "here").data
        assert [getattr(restored, key).value for key in keys] == before
        changed = restore(stored, "here", ["data.crop_fill=black"]).data
        assert changed.crop_fill.value == "black"


def test_load_config_refuses_what_is_no_run(toy: Path) -> None:
    with pytest.raises(ConfigError, match="not the configuration of a run"):
        load_config(toy)


SHIPPED = [(paper, preset) for paper in list_papers() for preset in (None, *list_presets(paper))]


@pytest.mark.parametrize(("paper", "preset"), SHIPPED)
def test_every_shipped_recipe_composes_and_opens_with_its_command(paper: str, preset: str | None) -> None:
    config = compose(paper, preset)
    assert dataclasses.is_dataclass(config.model)
    head = (config_module.CONFIGS / f"{paper}.yaml").read_text().split("\n\n")[0]
    assert f"python -m experiments.run --paper {paper}" in head
    if preset is not None:
        assert list_presets(paper)[preset], f"preset {preset} says nothing about itself"


def test_the_recipe_of_inspose_is_the_papers() -> None:
    config = compose("inspose")
    assert (config.optimizer.lr, config.optimizer.reference_batch, config.optimizer.milestones) == (0.01, 16, [27, 33])
    assert (config.optimizer.momentum, config.optimizer.weight_decay, config.optimizer.gamma) == (0.9, 1e-4, 0.1)
    assert (config.optimizer.warmup_steps, config.optimizer.clip_norm) == (2000, 35.0)
    assert (config.data.train_size, config.data.size, config.data.max_size) == ([640, 800], 800, 1333)
    assert (config.trainer.max_epochs, config.data.augmentation.flip, config.data.pad_multiple) == (36, 0.5, 32)
    long = compose("inspose", "long")
    assert (long.trainer.max_epochs, long.optimizer.milestones) == (100, [75, 90])


def test_composing_loads_neither_torch_nor_lightning() -> None:
    program = (
        "import sys, experiments.config as c; c.compose('inspose', 'smoke', ['optimizer.lr=1']);"
        "print([m for m in ('torch', 'pytorch_lightning', 'numpy', 'cv2') if m in sys.modules])"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.perf_counter() - start < 10
