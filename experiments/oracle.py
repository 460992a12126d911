"""The AP ceiling of a paper's representation: ground truth through its encoding and decoding, without a network.

    python -m experiments.oracle --paper inspose data.root=/path/to/coco
    python -m experiments.oracle --paper inspose data.root=/path/to/coco data.limit_val=500 --json

Scored on the validation split at the paper's test size. ``mean error`` is the distance between a labelled keypoint and
its decoded one, in the photographs' pixels, over the people that are found (OKS of at least 0.5 with some decoded
person); ``found`` is their share. Crowds are not scored. Where a paper assembles people from joints, ``joint error`` is
what its grid alone costs, in pixels of the network's input.

exit codes: 0 done; 2 refused (a mistake in the command, the configuration or the data).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sized
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from experiments.command_line import answer, run_program
from experiments.config import ConfigError, RunConfig, compose
from lightning_modules.papers import PAPERS, load

if TYPE_CHECKING:
    from torch import Tensor

    from datamodules.coco import CocoDataModule
    from datamodules.contracts import PoseBatch, Predictions
    from datamodules.skeleton import Skeleton

FIGURES = ("AP", "AP50", "AP75")
MASK_FIGURES = ("segm/AP", "segm/AP50")
"""Shown where a paper predicts masks."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.oracle", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--paper", required=True, help=f"one of {', '.join(PAPERS)}")
    parser.add_argument("--preset", help="as for experiments.run")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="configuration, as for experiments.run")
    options = parser.parse_intermixed_args(arguments)

    def work(report: dict[str, Any]) -> int:
        config = compose(options.paper, options.preset, options.overrides)
        from experiments.quiet import quieten

        quieten()
        report.update(oracle(config, shows_progress=not options.json))
        if not options.json:
            _print_table(report)
        return 0

    return answer(work, as_json=options.json)


def oracle(config: RunConfig, *, shows_progress: bool = False) -> dict[str, Any]:
    """``{"paper", "data", "images", "rows": [{"row", "AP", "AP50", "AP75", "mean_error_px", "found"}]}``.

    Rows have ``segm/AP`` and ``segm/AP50`` too where masks are predicted, and ``joint_error_px`` where the paper's
    oracle has ``joint_errors``.

    Figures lie in [0, 1]; ``mean_error_px`` is None where nobody is found.

    Raises:
        ValueError: the paper has no oracle, or its data cannot be used.
    """
    from datamodules.coco import CocoDataModule
    from datamodules.evaluator import CocoKeypointEvaluator
    from datamodules.skeleton import load_skeleton

    try:
        rows = load(f"lightning_modules.{config.paper}.oracle:rows")
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"{config.paper} has no oracle yet") from error
    skeleton = load_skeleton(config.data.skeleton)
    data = CocoDataModule(config.data, skeleton, config.seed)
    data.prepare_data()
    data.setup("validate")
    file, image_ids = data.val_annotation_file, data.val_image_ids
    decoders = rows(config.model, skeleton)
    backend, on_bad = config.evaluation.backend, config.data.on_bad_annotation
    evaluators = {
        name: CocoKeypointEvaluator(file, image_ids=image_ids, skeleton=skeleton, backend=backend, on_bad=on_bad)
        for name in decoders
    }
    errors = {name: Errors(skeleton) for name in decoders}
    joint_errors = getattr(import_module(f"lightning_modules.{config.paper}.oracle"), "joint_errors", None)
    measures = {} if joint_errors is None else joint_errors(config.model, skeleton)
    distances: dict[str, list[float]] = {name: [] for name in measures}
    for batch in _batches(data, shows_progress):
        for name, decode in decoders.items():
            predictions = decode(batch)
            evaluators[name].update(predictions)
            errors[name].update(batch, predictions)
        for name, measure in measures.items():
            distances[name] += measure(batch).tolist()
    reported = []
    for name in decoders:
        figures = evaluators[name].compute()
        shown = [*FIGURES, *(key for key in MASK_FIGURES if key in figures)]
        row = {"row": name, **{key: figures[key] for key in shown}, **errors[name].compute()}
        if name in distances:
            row["joint_error_px"] = sum(distances[name]) / len(distances[name]) if distances[name] else None
        reported.append(row)
    return {"paper": config.paper, "data": str(file), "images": len(image_ids), "rows": reported}


def _batches(data: CocoDataModule, shows_progress: bool) -> Iterator[PoseBatch]:
    from experiments.progress import Line

    loader, done = data.val_dataloader(), 0
    with (
        Line(len(cast("Sized", loader.dataset)), what="decoding", unit="samples")
        if shows_progress
        else nullcontext() as line
    ):
        for batch in loader:
            ready = data.on_after_batch_transfer(batch, 0)
            yield ready
            done += len(ready.images)
            if line is not None:
                line.show(done)


class Errors:
    """Collects how far decoded keypoints lie from the labelled ones."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.sigmas = skeleton.sigmas
        self.distance, self.keypoints = 0.0, 0
        self.found, self.people = 0, 0

    def update(self, batch: PoseBatch, predictions: Predictions) -> None:
        """Match each labelled person of the batch with the decoded person of the highest OKS.

        Keypoints outside the input do not count.
        """
        import torch

        from datamodules.contracts import labelled_inside
        from lightning_modules.shared.oks import object_keypoint_similarity

        persons, matrix = batch.persons, batch.meta.to_original
        labelled = labelled_inside(batch)
        truth = torch.einsum("bij,bpkj->bpki", matrix[..., :2], persons.keypoints) + matrix[:, None, None, :, 2]
        areas = persons.areas * torch.linalg.det(matrix[..., :2]).abs().unsqueeze(-1)
        self.people += int(labelled.any(dim=-1).sum())
        if not predictions.is_valid.any():
            return
        decoded = predictions.keypoints[:, None, ..., :2]
        similarity = object_keypoint_similarity(
            truth.unsqueeze(2), decoded, areas.unsqueeze(2), torch.tensor(self.sigmas), labelled.unsqueeze(2)
        )
        best, match = similarity.masked_fill(~predictions.is_valid.unsqueeze(1), -1.0).max(dim=2)
        is_found = (best >= 0.5) & labelled.any(dim=-1)
        nearest = predictions.keypoints[..., :2].gather(1, match[..., None, None].expand(-1, -1, *truth.shape[2:]))
        counted = labelled & is_found.unsqueeze(-1)
        self._add((nearest - truth).norm(dim=-1)[counted], int(is_found.sum()))

    def _add(self, distances: Tensor, found: int) -> None:
        self.distance += float(distances.double().sum())
        self.keypoints += len(distances)
        self.found += found

    def compute(self) -> dict[str, float | None]:
        """``mean_error_px`` in the photographs' pixels, and ``found``, a share of the labelled people."""
        return {
            "mean_error_px": self.distance / self.keypoints if self.keypoints else None,
            "found": self.found / self.people if self.people else None,
        }


def _print_table(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{PAPERS[report['paper']].title}\nceilings on {report['images']} images of {report['data']}"
    table = Table("row", title=title, title_justify="left")
    shown = [*FIGURES, *(key for key in MASK_FIGURES if key in report["rows"][0])]
    has_joint_error = "joint_error_px" in report["rows"][0]
    for name in (*shown, "mean error (px)", "found", *(["joint error (px)"] if has_joint_error else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report["rows"]:
        error, found, joint_error = row["mean_error_px"], row["found"], row.get("joint_error_px")
        table.add_row(
            row["row"],
            *(f"{100 * row[name]:.1f}" for name in shown),
            "" if error is None else f"{error:.2f}",
            "" if found is None else f"{found:.1%}",
            *(["" if joint_error is None else f"{joint_error:.3f}"] if has_joint_error else []),
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    run_program(main)
