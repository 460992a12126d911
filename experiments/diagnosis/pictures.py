"""Pictures of a diagnosis: bars of what costs AP and where, and the photographs that lose most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datamodules.contact_sheet import contact_sheet
from datamodules.drawing import Color
from datamodules.keypoint_errors import ERRORS, KINDS, Diagnosis, ImageErrors, KeypointKind
from datamodules.skeleton import Skeleton

KIND_COLORS: dict[str, Color] = {
    "jitter": (240, 228, 66),
    "inversion": (204, 121, 167),
    "swap": (0, 158, 115),
    "miss": (213, 94, 0),
    "false_positive": (128, 128, 128),
    "false_negative": (230, 40, 40),
}
"""After Okabe and Ito."""
CELL = 320
"""Longer side of a photograph's part on the sheet, pixels."""
_SHADES = ("#0072b2", "#e69f00")


def draw_bars(diagnoses: dict[str, Diagnosis], skeleton: Skeleton, file: Path) -> Path:
    """AP gained by repairing each kind, one bar for each diagnosis; then, joint by joint, the share of each kind.

    Args:
        diagnoses: one or two, by the name they are to bear.
        file: its suffix says the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 + 4 * len(diagnoses), 4), layout="constrained")
    FigureCanvasAgg(figure)
    gains, *joints = figure.subplots(1, 1 + len(diagnoses), width_ratios=[1.2, *(1 for _ in diagnoses)])
    width = 0.8 / len(diagnoses)
    for index, (name, diagnosis) in enumerate(diagnoses.items()):
        places = np.arange(len(KINDS)) + (index - (len(diagnoses) - 1) / 2) * width
        heights = [100 * diagnosis.gains[kind] for kind in KINDS]
        bars = gains.bar(
            places, heights, width * 0.92, color=_SHADES[index % 2], label=f"{_short(name)}: {_ap(diagnosis)}"
        )
        gains.bar_label(bars, fmt="%.1f", fontsize="x-small", padding=1)
    gains.set_xticks(range(len(KINDS)), [_words(kind) for kind in KINDS], rotation=30, ha="right")
    gains.set(ylabel="AP gained if repaired alone")
    gains.legend(fontsize="small", frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    gains.margins(y=0.15)
    for axes, (name, diagnosis) in zip(joints, diagnoses.items(), strict=True):
        names, shares = joint_shares(diagnosis, skeleton)
        left = np.zeros(len(names))
        for kind in ERRORS:
            color = np.array(KIND_COLORS[kind.name]) / 255
            axes.barh(names, 100 * shares[:, kind], left=left, color=color, label=kind.name)
            left += 100 * shares[:, kind]
        axes.invert_yaxis()
        whose = f", {_short(name)}" if len(diagnoses) > 1 else ""
        axes.set(xlabel=f"% of the joint's labelled keypoints{whose}")
        axes.legend(fontsize="small", frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    for axes in (gains, *joints):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=100)
    return file


def joint_shares(diagnosis: Diagnosis, skeleton: Skeleton) -> tuple[list[str], np.ndarray]:
    """Names without sides, and f64 [n, 5], the share of each ``KeypointKind`` from ``good`` on; rows sum to 1 or 0."""
    stems = [
        joint.split("_", 1)[1] if skeleton.side(k) != "middle" else joint for k, joint in enumerate(skeleton.joints)
    ]
    names = list(dict.fromkeys(stems))
    counts = np.zeros((len(names), 5))
    for stem, row in zip(stems, diagnosis.keypoints, strict=True):
        counts[names.index(stem)] += row
    return names, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def draw_worst(
    photographs: dict[int, Path],
    results: Sequence[list[dict[str, Any]]],
    diagnoses: dict[str, Diagnosis],
    skeleton: Skeleton,
    number: int,
) -> np.ndarray | None:
    """A row for each of the photographs on which the last diagnosis loses most; a cell for each diagnosis.

    Args:
        photographs: image id -> file; unreadable ones are left out.
        results: of each diagnosis, COCO's result format.

    Returns:
        u8 [H, W, 3], RGB, or None where no photograph can be read or nothing is lost.
    """
    by_id = [{image.image_id: image for image in diagnosis.images} for diagnosis in diagnoses.values()]
    cells: list[np.ndarray] = []
    captions: list[str] = []
    for worst in list(diagnoses.values())[-1].images:
        if len(cells) >= number * len(diagnoses) or worst.loss <= 0:
            break
        file = photographs.get(worst.image_id)
        pixels = None if file is None else cv2.imread(str(file), cv2.IMREAD_COLOR)
        if pixels is None:
            continue
        for name, images, entries in zip(diagnoses, by_id, results, strict=True):
            errors = images.get(worst.image_id, ImageErrors(worst.image_id, [], [], []))
            cells.append(draw_errors(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), errors, entries, skeleton))
            captions.append(f"{_short(name, 16)} {_summary(errors)}" if len(diagnoses) > 1 else _summary(errors))
    if not cells:
        return None
    sheet = contact_sheet(cells, 2 if len(diagnoses) > 1 else min(4, len(cells)), cell=CELL, captions=captions)
    return np.concatenate([_legend(sheet.shape[1]), sheet])


def draw_errors(
    image: np.ndarray, errors: ImageErrors, results: list[dict[str, Any]], skeleton: Skeleton
) -> np.ndarray:
    """The part of a darkened photograph u8 [H, W, 3] that people are in, ``CELL`` pixels long, with their faults.

    Faulty keypoints are dots in their kind's colour with a line to the joint, good ones white; a joint that was not
    predicted (its score is 0) is a ring where it should be. Who was not found has a red box; background people have a
    grey one, where they score above the least who is somebody.
    """
    found = [_points(results[person.result]["keypoints"]) for person in errors.matched]
    predicted = [np.asarray(results[person.result]["keypoints"])[2::3] > 0 for person in errors.matched]
    truth = [_points(person.annotation["keypoints"]) for person in errors.matched]
    least = min((results[person.result]["score"] for person in errors.matched), default=0.0)
    ghosts = [
        _points(results[e]["keypoints"])[np.asarray(results[e]["keypoints"])[2::3] > 0]
        for e in errors.false_positives
        if results[e]["score"] >= least and any(results[e]["keypoints"][2::3])
    ]
    missing = [np.array([[x, y], [x + w, y + h]]) for x, y, w, h in (a["bbox"] for a in errors.false_negatives)]
    labelled = [
        points[np.asarray(person.annotation["keypoints"]).reshape(-1, 3)[:, 2] > 0]
        for points, person in zip(truth, errors.matched, strict=True)
    ]
    canvas, corner, factor = _crop(image, [*labelled, *missing])
    for points, name in [*((p, "false_positive") for p in ghosts), *((p, "false_negative") for p in missing)]:
        low, high = (_pixel(place, corner, factor) for place in (points.min(axis=0), points.max(axis=0)))
        cv2.rectangle(canvas, low, high, KIND_COLORS[name], 2, cv2.LINE_AA)
    for person, here, there, exists in zip(errors.matched, found, truth, predicted, strict=True):
        for limb in skeleton.limb_indices:
            if exists[list(limb)].all():
                start, end = (_pixel(here[joint], corner, factor) for joint in limb)
                cv2.line(canvas, start, end, (205, 205, 205), 1, cv2.LINE_AA)
        for joint in np.flatnonzero(person.kinds >= KeypointKind.good):
            kind = KeypointKind(person.kinds[joint])
            place = _pixel(here[joint], corner, factor)
            color = KIND_COLORS.get(kind.name, (255, 255, 255))
            if not exists[joint]:
                cv2.circle(canvas, _pixel(there[joint], corner, factor), 5, color, 2, cv2.LINE_AA)
                continue
            if kind is not KeypointKind.good:
                cv2.line(canvas, place, _pixel(there[joint], corner, factor), color, 2, cv2.LINE_AA)
                cv2.circle(canvas, place, 6, (22, 24, 32), cv2.FILLED, cv2.LINE_AA)
            cv2.circle(canvas, place, 2 if kind is KeypointKind.good else 5, color, cv2.FILLED, cv2.LINE_AA)
    return canvas


def _crop(image: np.ndarray, people: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, float]:
    """The darkened surroundings of points [n, 2] each, their top left corner, and by how much they are enlarged."""
    limit = np.array(image.shape[1::-1])
    points = np.concatenate(people) if people else np.array([[0, 0], limit])
    margin = 0.25 * np.ptp(points, axis=0).max() + 8
    low = np.clip(points.min(axis=0) - margin, 0, limit - 1).astype(int)
    high = np.clip(points.max(axis=0) + margin, low + 1, limit).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    factor = CELL / max(part.shape[:2])
    interpolation = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    part = cv2.resize(part, None, fx=factor, fy=factor, interpolation=interpolation)
    return (part * 0.6).astype(np.uint8), low, factor


def _legend(width: int) -> np.ndarray:
    strip = np.full((24, width, 3), (24, 26, 32), np.uint8)
    left = 8
    for kind, color in KIND_COLORS.items():
        text = {"false_positive": "background", "false_negative": "not found"}.get(kind, kind)
        cv2.circle(strip, (left + 5, 13), 5, color, cv2.FILLED, cv2.LINE_AA)
        cv2.putText(strip, text, (left + 16, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (214, 218, 226), 1, cv2.LINE_AA)
        left += 34 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0][0]
    return strip


def _points(keypoints: list[float]) -> np.ndarray:
    """f64 [K, 2], continuous pixels of the photograph."""
    return np.asarray(keypoints, dtype=np.float64).reshape(-1, 3)[:, :2] + 0.5


def _pixel(point: np.ndarray, corner: np.ndarray, factor: float) -> tuple[int, int]:
    x, y = np.clip((point - corner) * factor, -9999, 9999)
    return int(x), int(y)


def _summary(errors: ImageErrors) -> str:
    counts = {
        kind.name: sum(int((person.kinds == kind).sum()) for person in errors.matched) for kind in reversed(ERRORS)
    }
    told = [f"{count} {name}" for name, count in counts.items() if count]
    told += [f"{len(errors.false_negatives)} not found"] if errors.false_negatives else []
    return f"{errors.image_id}: {', '.join(told) or 'no errors'}"


def _short(name: str, length: int = 26) -> str:
    return name if len(name) <= length else "…" + name[1 - length :]


def _ap(diagnosis: Diagnosis) -> str:
    return f"AP {100 * diagnosis.ap:.1f}"


def _words(kind: str) -> str:
    return {"false_positive": "background FP", "false_negative": "background FN"}.get(kind, kind)
