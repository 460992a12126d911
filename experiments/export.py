"""A trained checkpoint as a graph for other runtimes, checked against PyTorch.

    python -m experiments.export --checkpoint runs/ssn/NAME --format onnx
    python -m experiments.export --checkpoint runs/inspose/NAME --format torch --out inspose.pt2

The graph takes normalised images f32 [B, 3, H, W] of any batch and size, and gives keypoints where decoding can be
followed, else what the network gives; which of both is said, and stands in the file with the names and meanings of the
outputs, mean, standard deviation and joints. Then it runs (ONNX in onnxruntime) on other images, sizes and batches and
is compared with PyTorch. ONNX needs: pip install 'pose-papers[export]'

exit codes: 0 done and equal; 1 exported, but not equal; 2 refused; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from experiments.command_line import answer, make_folder, run_program

UNEQUAL = 1
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    return answer(lambda report: _export(options, report), as_json=options.json)


def _export(options: argparse.Namespace, report: dict[str, Any]) -> int:
    from experiments.exporting.graph import require_onnx

    if options.format == "onnx":
        require_onnx()
    from experiments.quiet import quieten

    quieten()
    from experiments.checkpoint import load_trained
    from experiments.exporting.graph import export, parity

    trained = load_trained(options.checkpoint, options.set)
    out = options.out or trained.file.with_suffix(SUFFIXES[options.format])
    if out.is_dir():
        name = trained.config.paper + SUFFIXES[options.format]
        raise ValueError(f"{out}: is a folder; give --out a file, as {out / name}")
    make_folder(out.parent)
    exported = export(trained, options.format, out, network_only=options.network_only)
    for line in exported.given_up:
        print(line, file=sys.stderr)
    rows = parity(exported.exportable, exported.run)
    worst = max(row.difference for row in rows)
    report.update(
        out=str(out),
        about=exported.about,
        given_up=exported.given_up,
        parity=[row._asdict() for row in rows],
        difference=worst,
        tolerance=options.tolerance,
    )
    if not options.json:
        print(f"{out}: {trained.config.paper}, {exported.exportable.about}")
        for row in rows:
            shape = "×".join(map(str, row.shape))
            print(f"  {shape:>14}  {row.output:<16} largest difference from PyTorch {row.difference:.1e}")
    if not worst <= options.tolerance:
        print(f"the graph is not equal to PyTorch within {options.tolerance:g}", file=sys.stderr)
        return UNEQUAL
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="RUN", help="folder of a run, or a .ckpt file"
    )
    parser.add_argument("--format", choices=tuple(SUFFIXES), required=True)
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: beside the checkpoint")
    parser.add_argument("--network-only", action="store_true", help="leave decoding out")
    parser.add_argument("--tolerance", type=float, default=1e-4, metavar="D", help="of the comparison (1e-4)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the run's test, e.g. model.flip_test=false",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, all else on stderr")
    return parser


if __name__ == "__main__":
    run_program(main)
