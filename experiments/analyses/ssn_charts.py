"""Figures 5 to 7 of the Spatial Shortcut Network as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_GREY, _RED, _BLUE, _GREEN = "#b8bec6", "#d7191c", "#2f7bff", "#16a34a"
POINT_COLORS = (_BLUE, _GREEN)
THRESHOLD = 0.5
"""Scores above it count (Section 4.1)."""


class OffsetPanel(NamedTuple):
    title: str
    offsets: np.ndarray
    """f32 [K, 2], pixels of the module's map."""


class PointView(NamedTuple):
    """What one value of a non-local map sees; positions in crop pixels."""

    joint: str
    position: np.ndarray
    """f32 [2]."""
    field: np.ndarray
    """f32 [h, w], effective receptive field."""
    window: np.ndarray
    """f32 [K, 2]."""
    energy: np.ndarray
    """f32 [K], of the window's positions."""


class MapView(NamedTuple):
    """A non-local map of a crop, and two points of it."""

    title: str
    values: np.ndarray
    """f32 [h, w]."""
    points: Sequence[PointView]


def draw_offsets(file: Path, panels: Sequence[OffsetPanel], start: float) -> None:
    """Fig. 5a: a scatter of each module's offsets; a dashed square shows where they began."""
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    with _saved(file, (3.3 * columns, 3.5 * rows + 0.3)) as figure:
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, panel in zip(axes.flat, panels, strict=False):
            reach = max(float(np.abs(panel.offsets).max(initial=0.0)), start) * 1.06
            _plane(axis, reach)
            axis.scatter(*panel.offsets.T, s=9, c=_BLUE, alpha=0.6, linewidths=0)
            axis.plot(
                [-start, start, start, -start, -start], [-start, -start, start, start, -start], "--", c=_RED, lw=1
            )
            axis.set_title(panel.title, fontsize=10)
        _label(axes, panels, "Δx", "Δy (down)")
        figure.suptitle("Learned offsets, pixels of each module's map; dashed: where they started", fontsize=11)


def draw_keypoint_offsets(
    file: Path, offsets: np.ndarray, scores: np.ndarray, joints: Sequence[str], title: str
) -> None:
    """Fig. 5c: of each keypoint, the offsets f32 [K, 2] whose scores f32 [M, K] are above ``THRESHOLD``."""
    columns = min(6, len(joints))
    rows = -(-len(joints) // columns)
    reach = float(np.abs(offsets).max(initial=0.0)) * 1.06 + 1e-6
    with _saved(file, (2.3 * columns, 2.5 * rows + 0.5)) as figure:
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axis, joint, score in zip(axes.flat, joints, scores, strict=False):
            chosen = score > THRESHOLD
            _plane(axis, reach)
            axis.scatter(*offsets[~chosen].T, s=4, c=_GREY, linewidths=0)
            axis.scatter(*offsets[chosen].T, s=12, c=_RED, linewidths=0)
            axis.set_title(f"{_words(joint)}: {int(chosen.sum())}", fontsize=9)
        _label(axes, joints, "Δx", "Δy (down)")
        figure.suptitle(f"{title}: offsets with scores above {THRESHOLD}; they look the other way, to −Δ", fontsize=11)


_SUM = ("non-local channels", "input channels")
CHARTS = (
    ("gradient", dict(zip(("non_local", "inputs"), _SUM, strict=True)), (_RED, _GREY)),
    (
        "gradient × activation",
        {"non_local_parts": "non-local channels", "input_parts": "input channels"},
        (_RED, _GREY),
    ),
    ("gradient", {"attention": "attention channels"}, (_BLUE,)),
)
"""Of Fig. 6: how contributions are measured, kinds of counts and their names, colours."""


def draw_contributions(
    file: Path, runs: Mapping[str, Mapping[str, Sequence[int]]], joints: Sequence[str], title: str
) -> None:
    """Fig. 6: how many channels contribute to each keypoint, a column a run, those of the attention in their own chart.

    ``runs``: a run's name -> kinds of ``CHARTS``, those it has -> M counts.
    """
    charts = [chart for chart in CHARTS if any(kind in counts for counts in runs.values() for kind in chart[1])]
    with _saved(file, (9.6 * len(runs), 2.7 * len(charts) + 0.9)) as figure:
        axes = figure.subplots(len(charts), len(runs), squeeze=False, sharex=True, sharey="row")
        for column, (run, counts) in enumerate(runs.items()):
            if len(runs) > 1:
                axes[0, column].set_title(run, fontsize=9)
            for axis, (measure, names, colors) in zip(axes[:, column], charts, strict=True):
                shown = {names[kind]: counts[kind] for kind in names if kind in counts}
                _bars(axis, shown, colors, f"channels, by {measure}")
            axes[-1, column].set_xticks(
                range(len(joints)), [_words(joint) for joint in joints], rotation=40, ha="right", fontsize=9
            )
        figure.suptitle(f"{title}: channels with scores above {THRESHOLD}", fontsize=11)


def _bars(axis: Any, groups: Mapping[str, Sequence[int]], colors: Sequence[str], label: str) -> None:
    """Grouped bars of a chart; where there is no group, the chart says so."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_ylabel(label, fontsize=9)
    axis.margins(x=0.01, y=0.1)
    if not groups:
        axis.text(0.5, 0.5, "none in this run", transform=axis.transAxes, ha="center")
        return
    width = 0.8 / len(groups)
    for index, (name, counts) in enumerate(groups.items()):
        places = np.arange(len(counts)) + (index - (len(groups) - 1) / 2) * width
        bars = axis.bar(places, counts, width, color=colors[index], label=name)
        axis.bar_label(bars, fontsize=7, padding=1)
    axis.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def draw_maps(file: Path, crops: Sequence[tuple[np.ndarray, Sequence[MapView]]], title: str) -> None:
    """Fig. 7: a row per crop u8 [H, W, 3]: its non-local maps, and the field and window of each one's two points."""
    height, width = crops[0][0].shape[:2]
    places = range(len(crops[0][1]))
    fields = ["crop", "crop", *(part for n in places for part in (f"map{n}", f"map{n}", f"field{n}0", f"field{n}1"))]
    windows = [part.replace("field", "window") for part in fields]
    side = 2.9
    size = (side * width / height * len(fields) / 2 + 0.6, (side + 0.35) * len(crops) + 0.9)
    with _saved(file, size) as figure:
        rows = figure.subfigures(len(crops), 1, squeeze=False)[:, 0]
        for row, (image, views) in zip(rows, crops, strict=True):
            axes = row.subplot_mosaic([fields, windows])
            for axis in axes.values():
                axis.set(xticks=[], yticks=[])
                axis.imshow(image, extent=(0, width, height, 0))
            for number, view in enumerate(views):
                _draw_view(axes, number, view, image)
        figure.suptitle(title, fontsize=11)


def _draw_view(axes: Mapping[str, Any], number: int, view: MapView, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    extent = (0, width, height, 0)
    axes[f"map{number}"].imshow(view.values, cmap="viridis", extent=extent)
    axes[f"map{number}"].set_title(view.title, fontsize=9)
    for index, (point, color) in enumerate(zip(view.points, POINT_COLORS, strict=True)):
        field, window = axes[f"field{number}{index}"], axes[f"window{number}{index}"]
        gradient = np.sqrt(point.field)  # squared, all but the strongest places are black
        brightest = np.percentile(gradient[gradient > 0], 98) if gradient.any() else 1.0
        field.imshow(gradient, cmap="inferno", extent=extent, vmin=0, vmax=brightest)
        field.set_title(_words(point.joint), fontsize=9, color=color)
        window.imshow(255 - (255 - image) // 3, extent=extent)
        strength = np.abs(point.energy) / max(float(np.abs(point.energy).max(initial=0.0)), 1e-12)
        order = strength.argsort()
        window.scatter(*point.window[order].T, s=14, c=_RED, alpha=strength[order], linewidths=0)
        window.set(xlim=(0, width), ylim=(height, 0))
        for axis, area in ((axes[f"map{number}"], 50), (field, 22), (window, 22)):
            axis.scatter(*point.position, s=area, color=color, edgecolors="white", linewidths=1.0)


@contextmanager
def _saved(file: Path, size: tuple[float, float]) -> Iterator[Any]:
    """A figure of ``size`` inches, written when it is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    yield figure
    figure.savefig(file, dpi=130)


def _plane(axis: Any, reach: float) -> None:
    """Offsets up to ``reach`` in every direction, y down as in pictures; whole pixels are ruled while they are few."""
    axis.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
    axis.axhline(0, color=_GREY, lw=0.8, zorder=0)
    axis.axvline(0, color=_GREY, lw=0.8, zorder=0)
    axis.tick_params(labelsize=8)
    axis.locator_params(nbins=7, integer=True)
    if reach <= 12:
        whole = np.arange(-int(reach), int(reach) + 1)
        axis.set_xticks(whole, minor=True)
        axis.set_yticks(whole, minor=True)
        axis.grid(which="minor", color="#e6e9ed", lw=0.5)
        axis.set_axisbelow(True)


def _label(axes: np.ndarray, drawn: Sequence[Any], x: str, y: str) -> None:
    """Names the outer axes and takes away those without a panel."""
    for axis in axes.flat[len(drawn) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel(y, fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel(x, fontsize=9)


def _words(joint: str) -> str:
    return joint.replace("_", " ")
