"""The table of a benchmark: on the screen, as JSON, and as the Markdown of ``benchmarks/README.md``."""

from __future__ import annotations

import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.benchmarks.measuring import Line, Setting

COLUMNS = ("line", "unit", "naive", "peer", "ours", "limit", "ratio", "asked")
PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pycocotools")
_HEAD = """# Measured speed

Written by `make bench` (`python -m experiments.benchmark`); do not edit. Less is better in every column but the last
two. *naive* is the straightforward form of the same function, *peer* what others use for it (of several the fastest),
*limit* what it cannot beat or is not to exceed. *ratio* is how many times better ours is than the figure it names, or
which share of the limit is reached; *asked* is the least that will do. Where there is no figure, or ours is behind, the
line's note says why. All figures of a line are medians of one run of one process, taken in turn: on a CPU processor
time of one thread, on a GPU wall time. Compare ratios; absolute figures are the machine's.
"""


def cells(line: Line) -> tuple[str, ...]:
    """The texts of a row, by ``COLUMNS``."""
    ratio = "–" if line.ratio is None else f"{line.ratio:.2f}× {line.against}"
    asked = "–" if line.asked is None else f"≥ {line.asked:g} {'✓' if line.holds else '✗'}"
    figures = (_figure(value) for value in (line.naive, line.peer, line.ours, line.limit))
    return (line.name, line.unit, *figures, ratio, asked)


def note_of(line: Line) -> str:
    """The line's note: peers with their figures, what it is behind and why, its columns, and why one is empty."""
    behind = f"behind {', '.join(line.behind)}" + (f": {line.why_behind}" if line.why_behind else "")
    peers = ", ".join(f"{name} {_figure(value)}" for name, value in (line.peers or {}).items())
    without = [f"no {column}: {why}" for column, why in (line.without or {}).items()]
    parts = (f"peers: {peers}" if peers else "", behind if line.behind else "", line.note, *without)
    return "; ".join(part for part in parts if part)


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def print_table(lines: list[Line]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("line", "unit") else "right")
    for line in lines:
        table.add_row(*cells(line))
    console = Console(highlight=False)
    console.print(table)
    for line in lines:
        if told := note_of(line):
            console.print(f"{line.name}: {told}", soft_wrap=True)


def machine(setting: Setting) -> dict[str, Any]:
    """Hardware and versions that a result belongs to."""
    import torch

    name = torch.cuda.get_device_name() if setting.is_gpu else _processor()
    return {
        "device": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "precision": "bf16, channels last" if setting.is_gpu else "fp32",
        "compiled": setting.compile,
        "full": setting.full,
        "pictures": "rendered people" if setting.data is None else "photographs",
    }


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", file.read_text()) if file.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def as_json(lines: list[Line], where: dict[str, Any], seconds: float) -> dict[str, Any]:
    rows = [{**line._asdict(), "ratio": line.ratio, "holds": line.holds} for line in lines]
    return {"machine": where, "seconds": round(seconds, 1), "lines": rows}


def write(folder: Path, lines: list[Line], where: dict[str, Any], seconds: float) -> Path:
    """Write the result of this machine, and the README of all results in ``folder`` -> the result's file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{re.sub(r'[^a-z0-9]+', '-', where['device'].lower()).strip('-')}.json"
    file.write_text(json.dumps(as_json(lines, where, seconds), indent=1, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(readme(folder))
    return file


def readme(folder: Path) -> str:
    """Markdown of every result in ``folder``."""
    parts = [_HEAD]
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text())
        where = result["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in where["packages"].items() if version)
        parts.append(f"\n## {where['device']}\n")
        parts.append(
            f"{where['cores']} cores, {where['threads']} thread{'s' if where['threads'] != 1 else ''} used; "
            f"{where['precision']}{', compiled' if where['compiled'] else ''}; {where['pictures']}; "
            f"Python {where['python']}, {versions}. The whole took {result['seconds']:.0f} s.\n"
        )
        lines = [Line(**{name: row[name] for name in Line._fields if name in row}) for row in result["lines"]]
        parts.append("| " + " | ".join(COLUMNS) + " |")
        parts.append("|---|---|" + "--:|" * (len(COLUMNS) - 2))
        parts.extend("| " + " | ".join(cells(line)) + " |" for line in lines)
        notes = [f"- {line.name}: {told}" for line in lines if (told := note_of(line))]
        parts.extend(["", *notes] if notes else [])
    return "\n".join(parts) + "\n"
