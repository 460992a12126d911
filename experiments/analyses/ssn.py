"""What feature shifting modules learn: offsets, contributions to keypoints, convolution windows (Figs. 5 to 7).

    python -m experiments.analyze --paper ssn --run runs/ssn/NAME

Written to analysis/ in the run's folder, or to --out, a folder:
offsets.png            the learned offsets of every module (Fig. 5a)
keypoint_offsets.png   of one module (--fsm, 3 in the paper), the offsets that contribute to each keypoint (Fig. 5c)
contributions.png      how many of its channels contribute to each keypoint (Fig. 6)
non_local_maps.png     two of its non-local maps over --images crops; of two points each the effective receptive field
                       (brighter is stronger) and the convolution window (redder is heavier) (Fig. 7)
analysis.json          the numbers behind the pictures
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datamodules.contracts import PoseBatch, labelled_inside
from datamodules.skeleton import Skeleton
from experiments.analyses.samples import Shown, output_folder, shown_samples
from experiments.analyses.ssn_charts import (
    THRESHOLD,
    MapView,
    OffsetPanel,
    PointView,
    draw_contributions,
    draw_keypoint_offsets,
    draw_maps,
    draw_offsets,
)
from experiments.checkpoint import Trained, load_trained
from experiments.config import ConfigError
from lightning_modules.ssn.analysis import (
    clearest_channel,
    effective_receptive_field,
    input_maps,
    keypoint_scores,
    window,
)
from lightning_modules.ssn.feature_shift import FeatureShiftModule
from lightning_modules.ssn.network import feature_shift_modules

STUDIED_CROPS = 32
"""Crops that scores are averaged over and channels chosen by; the paper does not say how many it takes."""
CROPS_AT_ONCE = 8
PAIRS = (("left_knee", "left_elbow"), ("left_shoulder", "right_shoulder"))
"""The points of Fig. 7, one pair a non-local map."""
FIGURE_7 = "non-local maps; above, effective receptive fields of two points; below, their windows (redder is heavier)"


class Study(NamedTuple):
    """What is looked into."""

    trained: Trained
    modules: list[FeatureShiftModule]
    fsm: int
    """Number of the module of Figs. 5c, 6 and 7."""
    pairs: tuple[tuple[str, str], ...]
    shown: list[Shown]
    out: Path

    @property
    def module(self) -> FeatureShiftModule:
        return self.modules[self.fsm - 1]

    @property
    def network(self) -> torch.nn.Module:
        return self.trained.module.get_submodule("network")

    @property
    def crops(self) -> Tensor:
        """f32 [N, 3, H, W], normalised."""
        return torch.cat([sample.batch.images for sample in self.shown])


def main(options: argparse.Namespace) -> Path:
    """Write the figures and return their folder.

    Raises:
        ConfigError: no run of this paper, one without inserted modules, no such module, or nobody to show.
    """
    study = prepare(options)
    content = {
        "checkpoint": str(study.trained.file),
        "joints": list(study.trained.skeleton.joints),
        "modules": study_offsets(study),
        "contributions": {"fsm": study.fsm, **study_contributions(study)},
        "non_local_maps": {"fsm": study.fsm, "points": study_maps(study, options.images)},
    }
    (study.out / "analysis.json").write_text(json.dumps(content) + "\n")
    return study.out


def prepare(options: argparse.Namespace) -> Study:
    trained = load_trained(Path(options.run), options.overrides, paper="ssn")
    modules = feature_shift_modules(trained.module)
    if not modules:
        raise ConfigError(f"{trained.file}: model.feature_shift.enabled is false, so there is nothing to look into")
    if not modules[0].is_inserted:
        step = trained.config.model.feature_shift.insert_step
        key = f"model.feature_shift.insert_step={step}"
        raise ConfigError(f"{trained.file}: saved before its feature shifting modules joined ({key})")
    if not 1 <= options.fsm <= len(modules):
        raise ConfigError(f"--fsm {options.fsm}: this network has modules 1 to {len(modules)}")
    pairs = point_pairs(trained.skeleton)
    sought = sorted({joint for pair in pairs for joint in pair})
    wanted = [trained.skeleton.joints.index(joint) for joint in sought]

    def is_shown(batch: PoseBatch) -> bool:
        return bool(labelled_inside(batch)[0, 0, wanted].all())

    shown = shown_samples(
        trained, max(STUDIED_CROPS, options.images), is_shown, f"a person with {', '.join(sought)} labelled"
    )
    return Study(trained, modules, options.fsm, pairs, shown, output_folder(options, trained))


def point_pairs(skeleton: Skeleton) -> tuple[tuple[str, str], ...]:
    """The paper's pairs of joints where the skeleton has them, else the ends of its first two limbs."""
    has_all = all(joint in skeleton.joints for pair in PAIRS for joint in pair)
    return PAIRS if has_all else skeleton.limbs[:2]


def study_offsets(study: Study) -> list[dict[str, Any]]:
    """Fig. 5a: ``offsets.png`` (where maps are shifted), and a record of every module.

    ``offsets`` and ``mean_length`` are pixels of the module's map; ``share_near_whole`` is the share of the offsets'
    components within 0.1 of a whole number, 0.2 by chance. The paper sees them align with the grid.
    """
    crop = study.crops[:1]
    records: list[dict[str, Any]] = []
    panels = []
    inputs = input_maps(study.network, study.modules, crop)
    for number, (module, maps) in enumerate(zip(study.modules, inputs, strict=True), 1):
        height, width = maps.shape[2:]
        stride = crop.shape[2] // height
        record = {"fsm": number, "map_hw": [height, width], "stride": stride, "channels": module.reduce.out_channels}
        if (offsets := learned_offsets(module)) is not None:
            nearness = (offsets - offsets.round()).abs() < 0.1
            record["mean_length"] = round(float(offsets.norm(dim=1).mean()), 4)
            record["share_near_whole"] = round(float(nearness.float().mean()), 4)
            record["offsets"] = _rounded(offsets).tolist()
            title = f"FSM{number}: {len(offsets)} on {height}×{width}"
            panels.append(OffsetPanel(title, offsets.numpy()))
        records.append(record)
    if panels:
        draw_offsets(study.out / "offsets.png", panels, study.trained.config.model.feature_shift.offset_start)
    return records


def learned_offsets(module: FeatureShiftModule) -> Tensor | None:
    """f32 [K, 2], pixels of the map; None of a module that does not shift."""
    return next((parameter.detach() for parameter in module.shift.parameters()), None)


def study_contributions(study: Study) -> dict[str, Any]:
    """Figs. 5c and 6: ``keypoint_offsets.png`` (where maps are shifted), ``contributions.png``, scores and counts."""
    joints = study.trained.skeleton.joints
    crops = study.crops[:STUDIED_CROPS]
    scores = keypoint_scores(study.network, study.module, crops.split(CROPS_AT_ONCE))
    table = {kind: _rounded(values) for kind, values in scores._asdict().items() if values is not None}
    counts = {kind: (values > THRESHOLD).sum(axis=1).tolist() for kind, values in table.items()}
    title = f"FSM{study.fsm}, scores over {len(crops)} crops"
    draw_contributions(study.out / "contributions.png", counts, joints, title)
    offsets = learned_offsets(study.module)
    if offsets is not None:
        draw_keypoint_offsets(study.out / "keypoint_offsets.png", offsets.numpy(), table["shifted"], joints, title)
    listed = {kind: values.tolist() for kind, values in table.items()}
    return {"crops": len(crops), "threshold": THRESHOLD, "counts": counts, "scores": listed}


def study_maps(study: Study, images: int) -> list[dict[str, Any]]:
    """Fig. 7: ``non_local_maps.png``, and a record of the receptive field and the window of every point shown."""
    crops, joints = study.crops, study.trained.skeleton.joints
    (inputs,) = input_maps(study.network, [study.module], crops)
    with torch.no_grad():
        maps = study.module.non_local_maps(inputs)
    stride = crops.shape[2] // maps.shape[2]
    keypoints = torch.cat([sample.batch.persons.keypoints[:, 0] for sample in study.shown])
    last_cell = torch.tensor([maps.shape[3] - 1, maps.shape[2] - 1])
    rows: list[list[MapView]] = [[] for _ in study.shown[:images]]
    records: list[dict[str, Any]] = []
    for pair in study.pairs:
        points = keypoints[:, [joints.index(joint) for joint in pair]]
        cells = (points / stride).long().clamp_min(0).minimum(last_cell)
        channel = clearest_channel(maps, cells)
        for row, views in enumerate(rows):
            seen = [
                view_from(study.module, inputs[row : row + 1], channel, cell, joint, stride)
                for cell, joint in zip(cells[row].tolist(), pair, strict=True)
            ]
            sample_id = int(study.shown[row].batch.meta.sample_id)
            records += [{"sample_id": sample_id, "channel": channel, **record(point, stride)} for point in seen]
            views.append(MapView(f"non-local map {channel}", maps[row, channel].numpy(), seen))
    shown = [(sample.image, views) for sample, views in zip(study.shown, rows, strict=False)]
    draw_maps(study.out / "non_local_maps.png", shown, f"FSM{study.fsm}: {FIGURE_7}")
    return records


def view_from(
    module: FeatureShiftModule, maps: Tensor, channel: int, cell: list[int], joint: str, stride: int
) -> PointView:
    """What the value of non-local map ``channel`` at column, row ``cell`` sees in P [1, C, h, w], in crop pixels."""
    column, row = cell
    field = effective_receptive_field(module, maps, channel, (column, row))
    formed = window(module, maps, channel, (column, row))
    position = (torch.tensor(cell) + 0.5) * stride
    return PointView(
        joint, position.numpy(), field.numpy(), ((formed.positions + 0.5) * stride).numpy(), formed.energy.numpy()
    )


def record(view: PointView, stride: int) -> dict[str, Any]:
    """The numbers of a view, crop pixels; the field itself is only drawn."""
    rows, columns = np.indices(view.field.shape)
    centres = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) * stride
    return {
        "joint": view.joint,
        "position": view.position.tolist(),
        "field_reach_px": reach(centres, view.field.reshape(-1), view.position),
        "window_reach_px": reach(view.window, np.abs(view.energy), view.position),
        "window": np.round(view.window, 3).tolist(),
        "energy": [float(f"{value:.4g}") for value in view.energy],
    }


def reach(places: np.ndarray, weights: np.ndarray, origin: np.ndarray) -> float | None:
    """Root of the weighted mean squared distance of ``places`` [n, 2] from ``origin``; None without any weight."""
    total = float(weights.sum())
    squared = float((weights * ((places - origin) ** 2).sum(axis=1)).sum())
    return round((squared / total) ** 0.5, 3) if total > 0 else None


def _rounded(values: Tensor) -> np.ndarray:
    return np.round(values.double().numpy(), 4)
