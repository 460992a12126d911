"""Heatmap targets of a whole batch against patches pasted joint by joint, as most repositories draw them.

    python -m experiments.benchmarks.targets

64 crops of 17 keypoints on maps of 64×48, sigma 2. The naive form, as SimpleBaseline's and HRNet's, evaluates a patch
of three sigmas per joint, around a centre rounded to a cell; keypoints stand on cells here, so that both draw the same
there. Ours draws whole maps around any point. The peer is MMPose's codec, where it is installed, in both ways.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.contracts import Persons
from experiments.benchmarks.measuring import Line, Setting
from experiments.benchmarks.others import Other, tried
from lightning_modules.ssn.targets import STRIDE, encode_targets

HEIGHT, WIDTH, SIGMA = 64, 48, 2.0
REACH = 6
"""Cells around a centre that the naive form draws."""


def sample(crops: int) -> Persons:
    """People with every keypoint on the middle of a cell, four in five labelled."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(crops, 1, 17, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    return Persons(
        keypoints=(cells.floor() + 0.5) * STRIDE,
        visibility=(torch.rand(crops, 1, 17, generator=generator) < 0.8).to(torch.uint8),
        boxes=torch.zeros(crops, 1, 4),
        areas=torch.ones(crops, 1),
        is_real=torch.ones(crops, 1, dtype=torch.bool),
    )


def patches(keypoints: NDArray[np.float32], visibility: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Keypoints [B, K, 2], input pixels, and visibility [B, K] -> heatmaps [B, K, h, w], one joint after another."""
    crops, joints = visibility.shape
    heatmaps = np.zeros((crops, joints, HEIGHT, WIDTH), np.float32)
    for crop in range(crops):
        for joint in range(joints):
            if not visibility[crop, joint]:
                continue
            x = np.arange(2 * REACH + 1, dtype=np.float32)
            patch = np.exp(-((x - REACH) ** 2 + (x[:, None] - REACH) ** 2) / (2 * SIGMA**2))
            column, row = (int(value / STRIDE) for value in keypoints[crop, joint])
            left, right = max(0, column - REACH), min(WIDTH, column + REACH + 1)
            top, bottom = max(0, row - REACH), min(HEIGHT, row + REACH + 1)
            heatmaps[crop, joint, top:bottom, left:right] = patch[
                top - row + REACH : bottom - row + REACH, left - column + REACH : right - column + REACH
            ]
    return heatmaps


def by_mmpose(
    keypoints: NDArray[np.float32], visibility: NDArray[np.uint8], *, is_unbiased: bool
) -> NDArray[np.float32]:
    """As ``patches`` by MMPose's codec, crop by crop; ``is_unbiased`` draws whole maps around any point, as ours."""
    from mmpose.codecs import MSRAHeatmap

    input_size = (WIDTH * STRIDE, HEIGHT * STRIDE)
    codec = MSRAHeatmap(input_size, (WIDTH, HEIGHT), sigma=SIGMA, unbiased=is_unbiased)
    points = keypoints - STRIDE / 2  # its cell u stands for u strides, without the half
    crops = zip(points[:, None], visibility[:, None], strict=True)
    return np.stack([codec.encode(crop, seen)["heatmaps"] for crop, seen in crops])


def ours(persons: Persons) -> Tensor:
    return encode_targets(persons, (HEIGHT, WIDTH), SIGMA).heatmap_s4


def lines(setting: Setting) -> list[Line]:
    """Naive and peers are on the host, with the transfer; ours on the device."""
    persons = sample(64)
    points, visibility = persons.keypoints[:, 0].numpy(), persons.visibility[:, 0].numpy()
    there = Persons(*(value.to(setting.device) for value in persons))

    def theirs(is_unbiased: bool) -> Tensor:
        return torch.from_numpy(by_mmpose(points, visibility, is_unbiased=is_unbiased)).to(setting.device)

    peers, missing = tried(
        {
            "MMPose's patches": Other("mmpose", lambda: partial(theirs, False)),
            "MMPose's whole maps": Other("mmpose", lambda: partial(theirs, True)),
        }
    )
    runs = {
        "loops": lambda: torch.from_numpy(patches(points, visibility)).to(setting.device),
        "ours": lambda: ours(there),
        "limit": lambda: torch.full((64, 17, HEIGHT, WIDTH), 0.5, device=setting.device),
    }
    times = setting.race(runs | peers)
    found = {name: times[name] for name in peers}
    note = (
        "64 crops; naive: numpy patches of three sigmas around whole cells, joint by joint; ours: whole maps around "
        "points between cells, and beside a device no transfer of 208,896 bytes a crop; limit: new maps of one number"
    )
    columns = (times["ours"], times["loops"], min(found.values(), default=None), times["limit"])
    without = {} if found else {"peer": ", ".join(missing)}
    return [Line("heatmap targets", *columns, asked=1.0, note=note, peers=found, without=without)]


def main() -> None:
    for line in lines(Setting()):
        print(f"{line.name}: loops {line.naive:.2f} ms, ours {line.ours:.2f} ms")


if __name__ == "__main__":
    main()
