"""``--preset mini`` is the recipe in miniature: it changes size and time, and nothing of what a paper proposes."""

from itertools import product, takewhile
from pathlib import Path

import pytest

from experiments.config import RunConfig, compose, flatten, to_plain
from experiments.merging import all_keys
from lightning_modules.shared.config import ScheduleUnit

PAPERS = ("graph_pcnn", "inspose", "openpose_ssal", "ssa", "ssn")

COMMON = {
    "preset",
    # size of images and crops, and their number
    "data.rendered",
    "data.size",
    "data.max_size",
    "data.train_size",
    "data.crop_size",
    "data.pad_multiple",
    "data.limit_train",
    "data.limit_val",
    # the backbone, and the normalisation its weights were trained with
    "model.backbone.name",
    "model.backbone.weights",
    "data.mean",
    "data.std",
    # how many samples are computed at once; the samples of a step stay the recipe's
    "data.batch_size",
    "data.val_batch_size",
    "data.num_workers",
    # length of the schedule
    "optimizer.milestones",
    "optimizer.warmup_steps",
    "trainer.max_epochs",
    "trainer.max_steps",
    # when to evaluate, what to log, memory layout
    "trainer.val_every_epochs",
    "trainer.log_every_steps",
    "trainer.checkpoint_every_steps",
    "trainer.channels_last",
    "output.pictures",
}

OWN = {
    "graph_pcnn": {
        "model.sigma",  # the paper ties it to the crop size (Section 4.1)
        "model.num_points",  # N, likewise
        "model.deconv_channels",  # width
        "model.refinement_channels",  # width
        "optimizer.reference_batch",  # 128 crops are too many for an epoch of some thousand; the rate stays
    },
    "inspose": {
        "model.fpn_channels",  # widths
        "model.tower_channels",
        "model.feature_channels",
        "model.disk_channels",
        "model.heatmap_channels",
    },
    "openpose_ssal": {
        "model.network.weights",  # VGG's pretrained weights fit no narrow network
        "model.network.initial_std",  # grows with narrower layers, so that their gain stays
        "model.network.backbone_width",  # widths
        "model.network.feature_channels",
        "model.network.stage_width",
        "model.converter_width",
        "model.decode.base_size",  # pixels: in proportion to the crop
        "data.augmentation.shift_pixels",  # likewise
        "optimizer.lr",  # narrow layers from random weights: to be chosen on a held-out seed
    },
    "ssa": {
        "model.width",  # widths
        "model.feedforward",
        "data.augmentation.shift_pixels",  # pixels: in proportion to the input
    },
    "ssn": {
        "model.architecture",  # the paper's own small network, 3Block + 3FSM
        "model.early_predictors",  # which has none
        "model.feature_shift.channels",  # width
        "model.feature_shift.insert_step",  # length of the schedule
    },
}

IN_PROPORTION = {
    "graph_pcnn": {"model.sigma": ("data.crop_size", 1), "model.num_points": ("data.crop_size", 2)},
    "inspose": {"data.max_size": ("data.size", 1), "data.train_size": ("data.size", 1)},
    "openpose_ssal": {
        "data.size": ("data.crop_size", 1),
        "data.max_size": ("data.crop_size", 1),
        "data.augmentation.shift_pixels": ("data.crop_size", 1),
        "model.decode.base_size": ("data.crop_size", 1),
    },
    "ssa": {"data.augmentation.shift_pixels": ("data.size", 1)},
}
"""Key -> the size it follows, and the power."""


def changed_keys(paper: str, preset: str) -> set[str]:
    """Dotted keys whose values differ between the preset and the recipe."""
    recipe, other = (flatten(to_plain(compose(paper, name))) for name in (None, preset))
    return {key for key in recipe | other if recipe.get(key) != other.get(key)}


def is_allowed(key: str, paper: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in COMMON | OWN[paper])


@pytest.mark.parametrize("paper", PAPERS)
def test_mini_changes_size_and_time_alone(paper: str) -> None:
    beyond = sorted(key for key in changed_keys(paper, "mini") if not is_allowed(key, paper))
    assert not beyond, f"{paper}: mini changes {', '.join(beyond)}"


@pytest.mark.parametrize("paper", PAPERS)
def test_sizes_in_pixels_follow_the_input(paper: str) -> None:
    recipe, mini = (flatten(to_plain(compose(paper, name))) for name in (None, "mini"))

    def ratio(key: str) -> float:
        one, other = (values[key][0] if isinstance(values[key], list) else values[key] for values in (mini, recipe))
        return one / other

    for key, (size, power) in IN_PROPORTION.get(paper, {}).items():
        assert ratio(key) == pytest.approx(ratio(size) ** power, rel=0.06), key


@pytest.mark.parametrize("paper", PAPERS)
def test_the_rate_falls_at_the_same_shares_of_the_run(paper: str) -> None:
    def shares(config: RunConfig) -> list[float]:
        is_steps = config.optimizer.unit is ScheduleUnit.step
        length = config.trainer.max_steps if is_steps else config.trainer.max_epochs
        return [milestone / length for milestone in config.optimizer.milestones]

    assert shares(compose(paper, "mini")) == pytest.approx(shares(compose(paper)), abs=0.03)


@pytest.mark.parametrize("paper", PAPERS)
def test_the_lists_name_keys_that_exist(paper: str) -> None:
    from omegaconf import OmegaConf

    known = set(all_keys(OmegaConf.structured(compose(paper))))
    assert (COMMON - {"model.backbone.name", "model.backbone.weights"}) | OWN[paper] <= known


WHICH_IMAGES = {"data.train_split", "data.val_split", "data.train_image_ids", "data.val_image_ids"}


@pytest.mark.parametrize(
    ("paper", "preset"),
    [*product(("inspose", "openpose_ssal", "ssa"), ("demo", "overfit")), ("graph_pcnn", "overfit")],
)
def test_what_demo_and_overfit_change_besides_is_explained(paper: str, preset: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "papers.md").read_text()
    table = page.split("## What `demo` and `overfit` change")[1]
    title = {"graph_pcnn": "Graph-PCNN", "inspose": "InsPose", "openpose_ssal": "OpenPose", "ssa": "SSA"}[paper]
    first, *more = table.split(f"\n| {title} |")[1].splitlines()
    rows = "".join([first, *takewhile(lambda row: row.startswith("| |"), more)])
    silent = [
        key
        for key in changed_keys(paper, preset) - WHICH_IMAGES
        if not is_allowed(key, paper) and f"`{key}`" not in rows and f"`{key.rpartition('.')[0]}.*`" not in rows
    ]
    assert not silent
