"""What feature shifting modules learn: offsets, contributions to keypoints, convolution windows (Figs. 5 to 7).

    python -m experiments.analyze --paper ssn --run runs/ssn/NAME [--compare runs/ssn/OTHER ...]

Written to analysis/ in the run's folder, or to --out, a folder:
offsets.png            the learned offsets of every module (Fig. 5a)
keypoint_offsets.png   of one module (--fsm, 3 in the paper), the offsets that contribute to each keypoint (Fig. 5c)
contributions.png      how many of its channels contribute to each keypoint (Fig. 6), by their gradients and by gradient
                       × activation; runs given by --compare (rows of Table 1: "w/o CA", "w/o shifting") stand beside
non_local_maps.png     two of its non-local maps over --images crops; of two points each the effective receptive field
                       (brighter is stronger) and the convolution window (redder is heavier) (Fig. 7)
analysis.json          the numbers behind the pictures
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from experiments.analyses.ssn_study import CROPS_AT_ONCE, STUDIED_CROPS, Study, prepare
from experiments.config import ConfigError
from lightning_modules.ssn.analysis import (
    clearest_channel,
    effective_receptive_field,
    input_maps,
    keypoint_scores,
    window,
)
from lightning_modules.ssn.feature_shift import FeatureShiftModule

FIGURE_7 = "non-local maps; above, effective receptive fields of two points; below, their windows (redder is heavier)"


def main(options: argparse.Namespace) -> Path:
    """Write the figures and return their folder.

    Raises:
        ConfigError: no run of this paper, one without inserted modules, no such module, or nobody to show.
    """
    study = prepare(options, options.run)
    compared = [prepare(options, run) for run in options.compare]
    content = {
        "checkpoint": str(study.trained.file),
        "joints": list(study.trained.skeleton.joints),
        "modules": study_offsets(study),
        "contributions": {"fsm": study.fsm, **study_contributions(study, compared)},
        "non_local_maps": {"fsm": study.fsm, "points": study_maps(study, options.images)},
    }
    (study.out / "analysis.json").write_text(json.dumps(content) + "\n")
    return study.out


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


def study_contributions(study: Study, compared: Sequence[Study]) -> dict[str, Any]:
    """Figs. 5c and 6: ``keypoint_offsets.png`` (where maps are shifted), ``contributions.png``, scores and counts."""
    joints = study.trained.skeleton.joints
    for other in compared:
        if other.trained.skeleton.joints != joints:
            raise ConfigError(
                f"{other.trained.file}: other keypoints than {study.trained.file}; compare runs of one set"
            )
    records = [contributions(each) for each in (study, *compared)]
    counts = {record["run"]: record["counts"] for record in records}
    crops = records[0]["crops"]
    title = f"FSM{study.fsm}, scores over {crops} crops"
    draw_contributions(study.out / "contributions.png", counts, joints, title)
    offsets = learned_offsets(study.module)
    if offsets is not None:
        scores = np.array(records[0]["scores"]["shifted"])
        draw_keypoint_offsets(study.out / "keypoint_offsets.png", offsets.numpy(), scores, joints, title)
    return {"threshold": THRESHOLD, **records[0], "compared": records[1:]}


def contributions(study: Study) -> dict[str, Any]:
    """Scores of the module's channels, and how many lie above ``THRESHOLD`` for each keypoint."""
    crops = study.crops[:STUDIED_CROPS]
    scores = keypoint_scores(study.network, study.module, crops.split(CROPS_AT_ONCE))
    table = {kind: _rounded(values) for kind, values in scores._asdict().items() if values is not None}
    return {
        "run": str(study.trained.file),
        "crops": len(crops),
        "counts": {kind: (values > THRESHOLD).sum(axis=1).tolist() for kind, values in table.items()},
        "scores": {kind: values.tolist() for kind, values in table.items()},
    }


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
