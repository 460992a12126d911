"""Parameters and multiply-accumulates of a paper's models beside the published figures.

    python -m experiments.complexity --paper inspose
    python -m experiments.complexity --paper inspose model.kpnet_depth=4 --json

Counted on tensors without memory, so it needs neither a GPU nor weights. One multiply-accumulate is half of what
``torch.utils.flop_counter`` counts: convolutions and matrix products; normalisation, activation and resampling are 0.

exit codes: 0 done; 2 refused (a mistake in the command or the configuration).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from experiments.command_line import answer, run_program
from experiments.config import ConfigError, RunConfig, compose
from lightning_modules.papers import PAPERS, load

PUBLISHED = Path(__file__).with_name("published_counts.yaml")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.complexity", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--paper", required=True, help=f"one of {', '.join(PAPERS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="configuration, as for experiments.run")
    options = parser.parse_intermixed_args(arguments)

    def work(report: dict[str, Any]) -> int:
        report.update(complexity(compose(options.paper, overrides=options.overrides)))
        if not options.json:
            _print_table(report)
        return 0

    return answer(work, as_json=options.json)


def complexity(config: RunConfig) -> dict[str, Any]:
    """``{"paper", "rows": [{"row", "parameters", "macs", "input", "published", "note"}]}``.

    ``macs`` is None where nothing is run; ``published`` is ``{"parameters", "macs"}`` or None.

    Raises:
        ConfigError: the paper has no rows to count, or its configuration is impossible.
    """
    from datamodules.skeleton import load_skeleton

    try:
        rows = load(f"lightning_modules.{config.paper}.complexity:rows")
    except ModuleNotFoundError as error:
        raise ConfigError(f"{config.paper} has no rows to count yet") from error
    skeleton = load_skeleton(config.data.skeleton)
    published = published_counts(config.paper)
    counted = []
    for row in rows(config.model, skeleton):
        parameters, macs = count(row.build)
        counted.append(
            {
                "row": row.row,
                "parameters": parameters,
                "macs": macs,
                "input": row.input,
                "published": published.get(row.row),
                "note": row.note,
            }
        )
    return {"paper": config.paper, "rows": counted}


def count(build: Any) -> tuple[int, int | None]:
    """Parameters and multiply-accumulates of one ``Countable``; see ``lightning_modules.shared.counting``."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused attention hides its products from the counter
    try:
        with torch.device("meta"), torch.no_grad():
            countable = build()
            if countable.forward is None:
                return countable.parameters, None
            with FlopCounterMode(display=False, custom_mapping=_custom_counts()) as counter:
                countable.forward()
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    return countable.parameters, counter.get_total_flops() // 2 + countable.elementwise


def _custom_counts() -> dict[Any, Any]:
    """Operations the counter does not know: deformable convolution, and bilinear sampling (eight per value)."""
    import torch
    import torchvision  # noqa: F401, registers deform_conv2d

    def deformable(inputs: Any, weight: Any, *_: Any, out_shape: Any, **__: Any) -> int:
        taps = weight[1] * weight[2] * weight[3]
        return 2 * out_shape[0] * out_shape[1] * out_shape[2] * out_shape[3] * taps

    def sampled(*_: Any, out_shape: Any, **__: Any) -> int:
        return 8 * out_shape[0] * out_shape[1] * out_shape[2] * out_shape[3]

    return {torch.ops.torchvision.deform_conv2d: deformable, torch.ops.aten.grid_sampler_2d: sampled}


def published_counts(paper: str) -> dict[str, dict[str, float | None]]:
    """Row -> published ``parameters`` and ``macs``, None where a paper prints only one of them."""
    import yaml

    content = yaml.safe_load(PUBLISHED.read_text()) or {}
    return {
        row: {"parameters": cells.get("parameters"), "macs": cells.get("macs")}
        for row, cells in (content.get(paper) or {}).items()
    }


def _print_table(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=PAPERS[report["paper"]].title, title_justify="left")
    table.add_column("row")
    for name in ("parameters", "paper", "GMACs", "paper"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("note", justify="right", no_wrap=True)
    notes: dict[str, int] = {}
    for row in report["rows"]:
        published = row["published"] or {}
        note = "; ".join(text for text in (row["input"], row["note"]) if text)
        table.add_row(
            row["row"],
            f"{row['parameters']:,}",
            _number(published.get("parameters"), 1),
            _number(row["macs"], 1e9),
            _number(published.get("macs"), 1e9),
            str(notes.setdefault(note, len(notes) + 1)) if note else "",
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note, number in notes.items():
        console.print(f"{number:2d}  {note}", highlight=False)


def _number(value: float | None, unit: float) -> str:
    if value is None:
        return ""
    return f"{value:,}" if unit == 1 else f"{value / unit:.3f}"


if __name__ == "__main__":
    run_program(main)
