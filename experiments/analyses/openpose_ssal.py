"""The paper's figures from a finished run: stages, attention and direction weights, cost (Figs. 6, 8, 9 and 10).

    python -m experiments.analyze --paper openpose_ssal --run runs/openpose_ssal/NAME

Written to analysis/ in the run's folder, or to --out, a folder:
stages-<image id>.jpg     heatmaps and fields of every stage over the photograph, the target last; a field's hue is its
                          direction
weights-<image id>.jpg    the attention mask around single limbs and around all (brighter is heavier), then each stage's
                          weight where left and right are confused (darker is lighter)
cost.png                  parameters, multiply-accumulates and published accuracy of OpenPose and of the method
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
from experiments.analyses.cost_chart import write_cost_chart
from experiments.analyses.samples import output_folder, shown_samples, shows_a_labelled_person
from experiments.checkpoint import load_trained
from lightning_modules.openpose_ssal.module import OpenPoseSsal
from lightning_modules.openpose_ssal.network import Output
from lightning_modules.openpose_ssal.targets import Targets, encode_targets
from losses.progressive_direction import ProgressiveDirection, direction_fault, stage_factors
from losses.spatial_attention import SpatialAttention

_CELL = 260
_LIMBS = 5
"""At most so many limbs are shown one by one."""


def main(options: argparse.Namespace) -> Path:
    """Write the figures and return their folder.

    Raises:
        ConfigError: the folder is not a finished run of this paper, or its data show nobody.
    """
    trained = load_trained(Path(options.run), options.overrides, paper="openpose_ssal")
    module = trained.module
    assert isinstance(module, OpenPoseSsal)
    shown = shown_samples(trained, options.images, shows_a_labelled_person, "a labelled person")
    out = output_folder(options, trained)
    for batch, image in shown:
        _draw_photograph(module, batch, image, out)
    write_cost_chart(out / "cost.png")
    return out


@torch.no_grad()
def _draw_photograph(module: OpenPoseSsal, batch: PoseBatch, image: np.ndarray, out: Path) -> None:
    stride = module.config.network.downsampling
    height, width = (side // stride * stride for side in batch.images.shape[-2:])
    images = batch.images[..., :height, :width]
    output = module.network(images)
    targets = encode_targets(batch._replace(images=images), module.parts, module.config)
    picture = cv2.copyMakeBorder(
        image, 0, max(0, height - image.shape[0]), 0, max(0, width - image.shape[1]), cv2.BORDER_CONSTANT
    )[:height, :width]
    name = f"{int(batch.meta.image_id)}.jpg"
    truth = draw_truth(image, batch, 0, module.skeleton)
    write_jpeg(out / f"stages-{name}", stage_sheet(picture, truth, output, targets))
    write_jpeg(out / f"weights-{name}", weight_sheet(picture, truth, module, targets))


def stage_sheet(picture: np.ndarray, truth: np.ndarray, output: Output, targets: Targets) -> np.ndarray:
    """Fig. 6: the largest heatmap and the field of every cell, stage by stage, then the target's.

    Args:
        picture: u8 [H, W, 3], H and W multiples of f_d.
        truth: u8 picture of the annotated people.
        output: predictions of this photograph alone (B = 1).
        targets: of this photograph alone.
    """
    stages = len(output.heatmaps)
    heat = [*output.heatmaps[:, 0, :-1].amax(1), targets.heatmaps[0, :-1].amax(0)]
    fields = [*output.pafs[:, 0], targets.pafs[0]]
    cells = [overlay(picture, values) for values in heat] + [truth]
    cells += [overlay_field(picture, _strongest(field)) for field in fields] + [picture]
    names = [*(f"stage {stage + 1}" for stage in range(stages)), "target"]
    captions = [f"heatmaps, {name}" for name in names] + ["annotated"]
    captions += [f"fields, {name}" for name in names] + ["photograph"]
    return contact_sheet(_without_padding(cells), columns=stages + 2, cell=_CELL, captions=captions)


def weight_sheet(picture: np.ndarray, truth: np.ndarray, module: OpenPoseSsal, targets: Targets) -> np.ndarray:
    """Figs. 8 and 9: weights of the fields' error around limbs, and of every stage's error where sides are confused."""
    config, parts = module.config, module.parts
    weight = SpatialAttention(config.salm_alpha)(targets.attention[0])
    present = [limb for limb, values in enumerate(weight) if float(values.max()) > 1]
    cells, captions = [truth], ["annotated"]
    for limb in present[:: max(1, -(-len(present) // _LIMBS))]:
        cells.append(overlay(picture, (weight[limb] - 1) / max(config.salm_alpha, 1e-6)))
        ends = " to ".join(parts.names[part] for part in parts.limbs[limb])
        captions.append(f"{ends.replace('_', ' ')}, 1 to {float(weight[limb].max()):.1f}")
    cells.append(overlay(picture, (weight.amax(0) - 1) / max(config.salm_alpha, 1e-6)))
    captions.append(f"all limbs, 1 to {float(weight.max()):.1f}")
    columns = len(cells)
    partner = torch.tensor([*parts.part_partners, len(parts.names)])
    fault = direction_fault(targets.heatmaps > config.offset_gate, partner)
    betas = stage_factors(config.pdd_schedule.value, config.network.stages)
    lightest = ProgressiveDirection(betas)(fault)[:, 0].amin(1)
    for stage, beta in enumerate(betas):
        cells.append(darken(picture, lightest[stage]))
        captions.append(f"stage {stage + 1}: confused sides cost {beta:.2f}")
    return contact_sheet(_without_padding(cells), columns=columns, cell=_CELL, captions=captions)


def _without_padding(cells: list[np.ndarray]) -> list[np.ndarray]:
    """Padding lies right and below, and the annotated picture has none: all are cut to what they have in common."""
    height, width = (min(cell.shape[axis] for cell in cells) for axis in (0, 1))
    return [cell[:height, :width] for cell in cells]


def overlay(picture: np.ndarray, values: Tensor) -> np.ndarray:
    """Values [h, w] in [0, 1] over ``picture``: warmer and more opaque is higher."""
    level = np.clip(_resize(values, picture), 0, 1)
    colors = cv2.cvtColor(cv2.applyColorMap((255 * level).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return _blend(picture, colors, 0.25 + 0.6 * level)


def overlay_field(picture: np.ndarray, field: Tensor) -> np.ndarray:
    """Vectors [2, h, w] over ``picture``: hue is direction, opacity length."""
    x, y = (_resize(component, picture) for component in field)
    length = np.clip(np.hypot(x, y), 0, 1)
    hue = ((np.degrees(np.arctan2(y, x)) % 360) / 2).astype(np.uint8)
    full = np.full_like(hue, 255)
    colors = cv2.cvtColor(np.stack([hue, full, full], axis=-1), cv2.COLOR_HSV2RGB)
    return _blend(picture, colors, 0.85 * length)


def darken(picture: np.ndarray, weight: Tensor) -> np.ndarray:
    """``picture`` multiplied by weights [h, w] in [0, 1]."""
    return (picture * _resize(weight, picture, cv2.INTER_NEAREST)[..., None]).astype(np.uint8)


def _strongest(fields: Tensor) -> Tensor:
    """Of fields [L, 2, h, w] the longest vector of each cell, [2, h, w]."""
    best = fields.norm(dim=1).argmax(0)
    return fields.gather(0, best.expand(1, 2, -1, -1))[0]


def _resize(values: Tensor, picture: np.ndarray, interpolation: int = cv2.INTER_CUBIC) -> np.ndarray:
    height, width = picture.shape[:2]
    resized = cv2.resize(values.float().cpu().numpy(), (width, height), interpolation=interpolation)
    return np.clip(resized, -1, 1)


def _blend(picture: np.ndarray, colors: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    weight = np.clip(opacity, 0, 1)[..., None]
    return (picture * (1 - weight) + colors * weight).astype(np.uint8)
