"""Guided points over the heatmap (Fig. 3), and poses before and after refinement.

    python -m experiments.analyze --paper graph_pcnn --run runs/graph_pcnn/NAME

One row per crop: the response of one of its keypoints with guided points near it (a), far from it (b) and of high
response (c), the star being the truth; then the truth, stage 1 and stage 2. Each of the last two says how far its
labelled keypoints are off on average, in pixels of the crop. Written to analysis/refinement.jpg in the run's folder,
or in --out, a folder.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from callbacks.pictures import draw_truth, fit_cell, write_jpeg
from datamodules.contact_sheet import contact_sheet
from datamodules.contracts import PoseBatch, labelled_inside
from datamodules.drawing import draw_people
from experiments.analyses.samples import output_folder, shown_samples
from experiments.checkpoint import load_trained
from experiments.config import ConfigError
from lightning_modules.graph_pcnn.config import Refinement
from lightning_modules.graph_pcnn.module import GraphPCNN
from lightning_modules.graph_pcnn.targets import encode_targets
from lightning_modules.graph_pcnn.trunks import STRIDE

KINDS = ("(a) near", "(b) far", "(c) high response")
COLUMNS = len(KINDS) + 3
_YELLOW, _WHITE = (255, 220, 0), (255, 255, 255)


def main(options: argparse.Namespace) -> Path:
    """Write the sheet and return its path.

    Raises:
        ConfigError: a folder that is not a run of this paper with a second stage; nobody to show.
    """
    trained = load_trained(Path(options.run), options.overrides, paper="graph_pcnn")
    module, skeleton = trained.module, trained.skeleton
    assert isinstance(module, GraphPCNN)
    if trained.config.model.refinement is Refinement.none:
        raise ConfigError(f"{options.run}: model.refinement is none, so there is nothing to refine")

    def is_shown(batch: PoseBatch) -> bool:
        return 2 * int(labelled_inside(batch).sum()) > skeleton.num_keypoints

    cells: list[np.ndarray] = []
    captions: list[str] = []
    sought = "a person with more than half of the keypoints labelled"
    for index, (batch, image) in enumerate(shown_samples(trained, options.images, is_shown, sought)):
        pictures, texts = pictures_of_crop(module, batch, image, joint=index)
        cells += pictures
        captions += texts
    out = output_folder(options, trained) / "refinement.jpg"
    write_jpeg(out, contact_sheet(cells, columns=COLUMNS, cell=256, captions=captions))
    return out


@torch.no_grad()
def pictures_of_crop(
    module: GraphPCNN, batch: PoseBatch, image: np.ndarray, joint: int
) -> tuple[list[np.ndarray], list[str]]:
    """``COLUMNS`` pictures of the one crop in ``batch``, and their captions; ``joint`` picks a labelled keypoint."""
    image = fit_cell(image)
    heatmap = module.network(batch.images).heatmap_s4
    map_hw = (heatmap.shape[-2], heatmap.shape[-1])
    targets = encode_targets(batch.persons, map_hw, module.config.sigma, module.config.gaussian_center)
    labelled = targets.weight > 0
    choices = labelled[0].nonzero()[:, 0]
    keypoint = int(choices[(7 * joint + 9) % len(choices)])  # limbs first: that is where responses stray
    points = replace(module.sample, shuffle=False)(heatmap, targets.position, labelled)
    response, truth = heatmap[0, keypoint], targets.position[0, keypoint]
    kinds = points.position[0, keypoint].split(module.sample.counts)
    pictures = [draw_points(image, response, kind, truth) for kind in kinds]
    captions = [f"{kind}: {module.skeleton.joints[keypoint].replace('_', ' ')}" for kind in KINDS]
    pictures.append(draw_truth(image, batch, 0, module.skeleton))
    captions.append("truth")
    pose = module.estimate(module.network, batch.images)
    for name, position in (("stage 1", pose.stage1), ("stage 2", pose.stage2)):
        assert position is not None
        error = STRIDE * (position - targets.position)[labelled].norm(dim=-1).mean()
        step = image.shape[0] / map_hw[0]
        pictures.append(draw_people(image, (step * position).numpy(), 2 * labelled.numpy(), skeleton=module.skeleton))
        captions.append(f"{name}: {error:.2f} px off")
    return pictures, captions


def draw_points(image: np.ndarray, response: Tensor, points: Tensor, truth: Tensor) -> np.ndarray:
    """Points f32 [N, 2] and the truth f32 [2], heatmap pixels, over a response f32 [h, w] over a crop u8 [H, W, 3].

    The crop may be enlarged. A cell's index u stands for u / w of its width.
    """
    height, width = image.shape[:2]
    step = height / response.shape[0]
    move = np.array([[step, 0, -0.5], [0, step, -0.5]], dtype=np.float64)
    level = cv2.warpAffine(response.clamp(0, 1).numpy(), move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    colors = cv2.cvtColor(cv2.applyColorMap((255 * level).astype(np.uint8), cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    opacity = 0.3 + 0.5 * level[..., None]
    picture = (image * (1 - opacity) + colors * opacity).astype(np.uint8)
    size = max(height // 90, 1)
    for x, y in (step * points).round().int().tolist():
        cv2.circle(picture, (x, y), size, _YELLOW, -1, cv2.LINE_AA)
    x, y = (step * truth).round().int().tolist()
    return cv2.drawMarker(picture, (x, y), _WHITE, cv2.MARKER_STAR, 4 * size, max(size // 3, 1), cv2.LINE_AA)
