"""What this machine has and lacks, and what to do about it.

    python -m experiments.doctor
    python -m experiments.doctor --data data/coco --json

✓ works; ✗ is needed and does not; – is not there, or not ideal, and nothing depends on it.

exit codes: 0 nothing needed is wrong; 1 something is; 2 called wrongly.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from datamodules.config import DataConfig, View
from experiments.checks import hardware, services, software
from experiments.checks.finding import Finding, State
from experiments.command_line import run_program


class Section(NamedTuple):
    title: str
    checks: tuple[Callable[[], Finding | list[Finding]], ...]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    report: list[dict[str, object]] = []
    for section in sections(options.data, options.out):
        findings = run(section)
        report += [{"section": section.title, **_plain(finding)} for finding in findings]
        if not options.json:
            _print(section.title, findings)
    wrong = [str(entry["name"]) for entry in report if entry["state"] == State.wrong.name]
    if options.json:
        print(json.dumps({"exit_code": int(bool(wrong)), "checks": report}))
    elif wrong:
        print(f"\nto be mended: {', '.join(dict.fromkeys(wrong))}")
    return int(bool(wrong))


def sections(data: Path | None, out: Path) -> list[Section]:
    """The checks in the order they are shown."""
    required, requirements = software.declared()
    return [
        Section(
            "software",
            (
                lambda: software.python_version(required),
                lambda: software.packages(requirements, software.pinned()),
                software.torch_and_torchvision,
            ),
        ),
        Section(
            "machine",
            (
                lambda: hardware.processors(max(recipe.num_workers for recipe in recipes())),
                hardware.graphics,
                lambda: hardware.shared_memory(max(map(worker_memory, recipes()))),
                lambda: hardware.disk(out),
                hardware.collectives,
            ),
        ),
        Section("data", (lambda: services.data_root(data),)),
        Section("services", (services.weights_and_biases, services.slurm)),
    ]


@cache
def recipes() -> list[DataConfig]:
    """The data of every paper's recipe."""
    from experiments.config import compose, list_papers

    return [compose(paper).data for paper in list_papers()]


def run(section: Section) -> list[Finding]:
    """All findings; a check that fails itself is one, so that the others still answer."""
    findings: list[Finding] = []
    for check in section.checks:
        try:
            found = check()
        except Exception as error:  # a diagnosis must not end at the first thing that is broken
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            found = Finding(section.title, State.wrong, f"{type(error).__name__}: {line}", "make setup")
        findings += [found] if isinstance(found, Finding) else found
    return findings


def worker_memory(data: DataConfig) -> int:
    """Bytes that the workers of a recipe hold in shared memory: prefetched batches of uint8 images."""
    if data.view is View.image:
        pixels = data.size * data.max_size if data.resize.name == "shorter_side" else data.size**2
    else:
        pixels = data.crop_size[0] * data.crop_size[1]
    return data.num_workers * hardware.PREFETCH * data.batch_size * 3 * pixels


def _plain(finding: Finding) -> dict[str, object]:
    return {**finding._asdict(), "state": finding.state.name}


def _print(title: str, findings: list[Finding]) -> None:
    print(title)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"  {finding.state.value} {finding.name:<{width}}  {finding.found}")
        if finding.fix and finding.state is not State.ok:
            print(f"    {'':<{width}}  → {finding.fix}")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="ROOT", help="folder in COCO's layout to look at")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where runs go (default: runs)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


if __name__ == "__main__":
    run_program(main)
