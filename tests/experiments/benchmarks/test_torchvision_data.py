"""torchvision's data path shows the same as ours, to a pixel: on a picture whose colours tell where they are."""

import cv2
import numpy as np
import pytest
import torch

from datamodules.config import View
from datamodules.geometry import compose, covered_cells, invert, placing, scaling, translation
from datamodules.skeleton import COCO
from experiments.benchmarks import data_path
from experiments.benchmarks.torchvision_data import Shown, batch_of, sampled

HEIGHT, WIDTH = 150, 200


@pytest.fixture
def ramp() -> np.ndarray:
    """u8 [h, w, 3]: red is the column, green the row, blue their mean."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)


MATRICES = {
    "enlarged": (scaling(1.5, 1.5), (225, 300)),
    "mirrored": (compose(scaling(-2.0, 2.0), translation(400, 0)), (300, 400)),
    "cut out": (compose(translation(-30.3, -20.6), scaling(1.7, 1.7)), (128, 96)),
    "cut out, with a border": (compose(translation(9.4, 7.2), scaling(0.8, 0.8)), (128, 160)),
    "turned": (placing((1.3, 1.3), 25.0, (100, 75), (64, 80)), (160, 128)),
    "turned and shrunk": (placing((0.3, 0.3), -40.0, (100, 75), (32, 32)), (64, 64)),
    "turned and mirrored": (compose(placing((1, 1), 10.0, (90, 60), (48, 64)), scaling(-1, 1), translation(96, 0)),
                            (128, 96)),
}  # fmt: skip


@pytest.mark.parametrize("name", MATRICES)
def test_every_map_shows_what_it_says_to_a_pixel(name: str, ramp: np.ndarray) -> None:
    matrix, hw = MATRICES[name]
    shown = sampled(torch.from_numpy(ramp).permute(2, 0, 1), matrix, hw).permute(1, 2, 0).numpy()
    assert shown.shape == (*hw, 3)
    back = invert(matrix)
    x, y = np.meshgrid(np.arange(hw[1]) + 0.5, np.arange(hw[0]) + 0.5)
    column, row = (back[axis, 0] * x + back[axis, 1] * y + back[axis, 2] - 0.5 for axis in (0, 1))
    inside = covered_cells(matrix, (HEIGHT, WIDTH), hw)
    within = cv2.erode(inside.astype(np.uint8), np.ones((7, 7)), borderValue=1) > 0
    reach = max(1.0, np.abs(back[:, :2]).sum(axis=1).max()) + 0.6  # a pixel of the input, and rounding
    assert within.mean() > 0.2
    for channel, expected in ((0, column), (1, row)):
        far = (expected > 3) & (expected < (WIDTH, HEIGHT)[channel] - 4) & within
        assert np.abs(shown[..., channel] - expected)[far].max() < reach


@pytest.mark.parametrize("case", data_path.CASES, ids=lambda case: case.name)
def test_its_batches_look_like_ours(case: data_path.Case, tmp_path) -> None:
    annotations = data_path.photographs(data_path.Setting(), tmp_path, 2)
    dataset = data_path.build_dataset(annotations, case.config, COCO, train=case.train)
    numbers = dataset.people.image[:2].tolist() if case.config.view is View.person else [0, 1]
    shown = data_path.shown_by(dataset, [annotations.path(number) for number in numbers])
    samples = dataset.__getitems__([data_path.Draw(number, 0) if case.train else number for number in (0, 1)])
    images = batch_of(shown, tuple(np.max([each.hw for each in shown], axis=0).tolist()))
    for image, each, sample in zip(images, shown, samples, strict=True):
        theirs = image.permute(1, 2, 0).numpy()[: each.hw[0], : each.hw[1]].astype(int)
        inside = covered_cells(each.matrix, sample.meta.original_hw, each.hw)
        assert np.median(np.abs(theirs - sample.image)[inside]) <= 2


def test_padding_is_right_and_below(ramp: np.ndarray, tmp_path) -> None:
    file = tmp_path / "ramp.png"
    cv2.imwrite(str(file), ramp[..., ::-1])
    batch = batch_of([Shown(file, scaling(1, 1), (HEIGHT, WIDTH))], (HEIGHT + 4, WIDTH + 8))
    np.testing.assert_array_equal(batch[0, :, :HEIGHT, :WIDTH].permute(1, 2, 0).numpy(), ramp)
    assert batch.sum() == ramp.sum()
