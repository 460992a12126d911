"""Where chosen keypoints attend to, over the photograph: supervised beside naive attention (Fig. 1 and 9), and masks.

    python -m experiments.analyze --paper ssa --run runs/ssa/NAME --naive runs/ssa/OTHER

Rows, for each photograph: people and masks as the run predicts them, then the attention of four annotated keypoints
(white crosses) of as many people as there are: the supervised layer's, below it the average of all layers of the run
given by --naive (where none is given: of the same run, beside the annotated people). Redder is higher; each map is
divided by its own maximum. Written to analysis/attention.jpg in the run's folder, or in --out, a folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from callbacks.pictures import draw_truth, write_jpeg
from datamodules.contact_sheet import contact_sheet
from datamodules.contracts import PoseBatch
from datamodules.drawing import draw_people
from datamodules.skeleton import Skeleton
from experiments.analyses.samples import output_folder, shown_samples, shows_a_labelled_person
from experiments.checkpoint import load_trained
from lightning_modules.ssa.attention import QueryKey, attention_rows
from lightning_modules.ssa.decode import People
from lightning_modules.ssa.module import SSA
from lightning_modules.ssa.network import Output
from lightning_modules.ssa.targets import token_cells

MAPS = 4


def main(options: argparse.Namespace) -> Path:
    """Write the sheet and return its path.

    Raises:
        ConfigError: a folder that is not a run of this paper; nobody to show.
    """
    trained = load_trained(Path(options.run), options.overrides, paper="ssa")
    naive = load_trained(Path(options.naive), paper="ssa").module if options.naive else trained.module
    assert isinstance(trained.module, SSA)
    assert isinstance(naive, SSA)
    cells: list[np.ndarray] = []
    captions: list[str] = []
    for batch, image in shown_samples(trained, options.images, shows_a_labelled_person, "a labelled person"):
        pictures, texts = rows_of_photograph(trained.module, naive, batch, image, trained.skeleton)
        cells += pictures
        captions += texts
    out = output_folder(options, trained) / "attention.jpg"
    write_jpeg(out, contact_sheet(cells, columns=MAPS + 1, cell=240, captions=captions))
    return out


@torch.no_grad()
def rows_of_photograph(
    supervised: SSA, naive: SSA, batch: PoseBatch, image: np.ndarray, skeleton: Skeleton
) -> tuple[list[np.ndarray], list[str]]:
    """Two rows of ``1 + MAPS`` pictures of the one photograph in ``batch``, and their captions."""
    single = batch.images
    ours, theirs = supervised.network(single), naive.network(single)
    people = chosen_keypoints(batch)
    points = batch.persons.keypoints[0][people[:, 0], people[:, 1]]
    names = [skeleton.joints[int(joint)].replace("_", " ") for joint in people[:, 1]]
    pictures: list[np.ndarray] = []
    captions: list[str] = []
    for module, output, layers, title in (
        (supervised, ours, (ours.supervised,), "supervised"),
        (naive, theirs, theirs.layers, "naive"),
    ):
        if title == "naive" and naive is supervised:
            pictures.append(draw_truth(image, batch, 0, skeleton))
            captions.append("annotated")
        else:
            found = module.decoder(output, batch.meta.input_hw)[0]
            pictures.append(draw_result(image, found, (single.shape[2], single.shape[3]), skeleton))
            captions.append(f"{title}: people and masks")
        maps = keypoint_maps(layers, points, output, (single.shape[2], single.shape[3]))
        for index in range(MAPS):
            shown = index < len(points)
            pictures.append(paint(image, maps[index], points[index]) if shown else np.zeros_like(image))
            captions.append(f"{title}: {names[index]}" if shown else "")
    return pictures, captions


def chosen_keypoints(batch: PoseBatch) -> Tensor:
    """i64 [n <= MAPS, 2]: person and joint of labelled keypoints, one of each person in turn, largest people first."""
    is_labelled = (batch.persons.visibility[0] > 0) & batch.persons.is_real[0][:, None]
    order = batch.persons.areas[0].argsort(descending=True).tolist()
    per_person = [(person, is_labelled[person].nonzero()[:, 0].tolist()) for person in order]
    turns: list[tuple[int, int]] = []
    for turn in range(MAPS):
        for person, joints in per_person:
            if turn < len(joints):  # the first, then the last, then further inward: head and feet rather than two eyes
                turns.append((person, joints[turn // 2] if turn % 2 == 0 else joints[-1 - turn // 2]))
    return torch.tensor(turns[:MAPS], dtype=torch.int64).view(-1, 2)


def keypoint_maps(layers: tuple[QueryKey, ...], points: Tensor, output: Output, input_hw: tuple[int, int]) -> Tensor:
    """Attention of the cells of ``points`` f32 [n, 2], divided by its maximum, at the input's size: f32 [n, H, W]."""
    cells = token_cells(points[None], output.grid, input_hw)
    maps = attention_rows(layers, cells)[0].unflatten(1, output.grid)
    maps = torch.nn.functional.interpolate(maps[:, None], size=input_hw, mode="bilinear", align_corners=False)[:, 0]
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)


def paint(image: np.ndarray, attention: Tensor, point: Tensor) -> np.ndarray:
    """Attention [H, W] over an image u8 [h, w, 3] that lies at its top left, and a cross at ``point``."""
    height, width = image.shape[:2]
    values = (attention[:height, :width].numpy() * 255).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    mixed = cv2.addWeighted(image, 0.45, colors, 0.55, 0.0)
    x, y = (int(value) for value in point.tolist())
    size = max(height, width) // 20
    return cv2.drawMarker(mixed, (x, y), (255, 255, 255), cv2.MARKER_CROSS, size, max(size // 8, 1), cv2.LINE_AA)


def draw_result(image: np.ndarray, people: People, input_hw: tuple[int, int], skeleton: Skeleton) -> np.ndarray:
    """People and masks of one image, in the network's input."""
    height, width = image.shape[:2]
    maps = torch.nn.functional.interpolate(
        people.attention[:, None], size=input_hw, mode="bilinear", align_corners=False
    )[:, 0]
    masks = (maps[:, :height, :width] > 0.4).numpy()
    keypoints = people.keypoints.numpy().copy()
    return draw_people(image, keypoints, (keypoints[..., 2] > 0) * 2, skeleton=skeleton, masks=masks)
