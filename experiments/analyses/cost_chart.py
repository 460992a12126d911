"""Fig. 10: what OpenPose and the method cost, counted here, and what the paper says they reach."""

from __future__ import annotations

from pathlib import Path

from experiments.complexity import complexity
from experiments.config import compose
from experiments.tables.loader import find_table

ROWS = {"OpenPose": ("OpenPose", "OpenPose, minival"), "the method": ("with block offsets", "Ours, minival")}
"""Name in the chart -> row of ``experiments.complexity``, row of Table IV."""


def write_cost_chart(file: Path) -> None:
    """Bars of parameters and multiply-accumulates (counted), and of the published AP."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    published = {row.name: float(row.published["AP"]) for row in find_table("openpose_ssal", "4").rows}
    counted = {row["row"]: row for row in complexity(compose("openpose_ssal"))["rows"]}
    counts = [counted[count] for count, _ in ROWS.values()]
    panels = (
        ("parameters (million), counted", [count["parameters"] / 1e6 for count in counts]),
        (f"GMAC at {counts[0]['input'].replace(' x ', '×')}, counted", [count["macs"] / 1e9 for count in counts]),
        ("AP on the CMU minival, published", [published[row] for _, row in ROWS.values()]),
    )
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), layout="constrained")
    for axis, (title, values) in zip(axes, panels, strict=True):
        bars = axis.bar(list(ROWS), values, width=0.55, color=["#9aa5b1", "#d55e00"])
        more = f"{values[1] - values[0]:+.1f}" if title.startswith("AP") else f"{values[1] / values[0] - 1:+.1%}"
        labels = [f"{values[0]:.1f}", f"{values[1]:.1f} ({more})"]
        axis.bar_label(bars, labels, padding=3)
        axis.set_title(title, fontsize=10)
        axis.set_ylim(0, 1.2 * max(values))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
    plt.close(figure)
