"""Data from the command line: ``python -m experiments.data check | browse | make | download``.

Exit code 0: done; 1: failed, or ``check`` found an error; 2: called wrongly; 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from datamodules.config import DataConfig, OnBadAnnotation, RenderedConfig
from experiments.command_line import FAILED, INTERRUPTED, is_output_closed, positive, run_program, say

if TYPE_CHECKING:
    from datamodules.split_report import SplitReport

DESCRIPTION = "Check, look at, make and download data in COCO's layout."


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        code, result = given.command(given)
    except (ValueError, OSError, RuntimeError) as error:
        if is_output_closed(error):
            raise
        told = (str(error).splitlines() or [type(error).__name__])[0]
        say(f"error: {told}")
        code, result = FAILED, {"exit_code": FAILED, "error": told}
    except KeyboardInterrupt:
        say("stopped")
        code, result = INTERRUPTED, {"exit_code": INTERRUPTED, "error": "stopped"}
    if given.json:
        print(json.dumps(result))
    return code


def check(given: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    from datamodules.skeleton import load_skeleton
    from datamodules.split_report import report_split
    from experiments.progress import Line

    limit = given.max_image_pixels or DataConfig().max_image_pixels
    options: dict[str, Any] = {"skeleton": load_skeleton(given.skeleton), "max_pixels": limit, "decode": given.decode}
    reports = []
    for split in given.splits or _splits_of(given.root):
        if given.json:
            reports.append(report_split(given.root, split, **options))
        else:
            with Line(None, what=f"{split}: checking") as line:
                reports.append(report_split(given.root, split, **options, progress=line.show_of))
    if not given.json:
        for report in reports:
            _print_report(report)
    errors, repaired = (sum(getattr(report, name) for report in reports) for name in ("errors", "repaired"))
    result = {
        "root": str(given.root),
        "errors": errors,
        "repaired": repaired,
        "splits": {
            report.split: {
                "figures": report.figures,
                "complaints": [complaint._asdict() for complaint in report.complaints],
            }
            for report in reports
        },
    }
    return int(errors > 0), result


def browse(given: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    import cv2
    import numpy as np

    from datamodules.annotations import read_annotations
    from datamodules.photograph_checks import missing_photographs
    from datamodules.sample_sheet import sample_sheet
    from datamodules.selection import annotation_file
    from datamodules.skeleton import load_skeleton

    config = _data_config(given.overrides)
    skeleton = load_skeleton(given.skeleton)
    split = given.split or _splits_of(given.root)[-1]
    file = annotation_file(given.root, split)
    annotations = read_annotations(file, given.root / split, skeleton, on_bad=OnBadAnnotation.drop)
    missing, _ = missing_photographs(annotations)
    shown = np.setdiff1d(np.flatnonzero(annotations.labelled_per_image > 0), missing)
    if len(shown) == 0:
        raise ValueError(f"{file}: no photograph that is there shows a person with labelled keypoints")
    sheet = sample_sheet(
        annotations.select(shown), config, skeleton, given.number, columns=given.columns, seed=given.seed
    )
    if given.out.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp"):
        raise ValueError(f"{given.out}: give --out a name that ends in .jpg, .png or .webp")
    if not cv2.imwrite(str(given.out), sheet[..., ::-1]):
        raise ValueError(f"{given.out}: could not be written; does its folder exist?")
    if not given.json:
        print(f"{given.out}: samples of {split}, each beside its mirror twin")
    return 0, {"out": str(given.out), "split": split, "view": config.view.value}


def make(given: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    from datamodules.synthetic import make_dataset

    config = RenderedConfig(given.images, given.val_images, given.size, given.seed)
    root = make_dataset(given.root, config, workers=given.workers, progress=not given.json)
    if not given.json:
        print(f"{root}: {given.images} training and {given.val_images} validation images")
    return 0, {"root": str(root), "train_images": given.images, "val_images": given.val_images}


def download(given: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    from datamodules import coco_archives
    from experiments.progress import Transfer

    archives = [coco_archives.ANNOTATIONS, *(coco_archives.IMAGES[split] for split in given.splits)]
    bar = Transfer()
    for archive in archives:
        coco_archives.obtain(
            archive, given.root, given.base_url or coco_archives.BASE_URL, keep=given.keep, progress=bar
        )
        bar.finish()
    if not given.json:
        print(f"{given.root}: complete; verify with: python -m experiments.data check --root {given.root}")
    return 0, {"root": str(given.root), "splits": [f"{split}2017" for split in given.splits]}


def _splits_of(root: Path) -> list[str]:
    """Raises:
    ValueError: there are none.
    """
    prefix = "person_keypoints_"
    files = sorted((root / "annotations").glob(f"{prefix}*.json"))
    if not files:
        raise ValueError(f"{root}: holds no annotations/{prefix}<split>.json; give --root a folder in COCO's layout")
    return [file.stem.removeprefix(prefix) for file in files]


def _print_report(report: SplitReport) -> None:
    from datamodules.annotation_rules import list_complaints

    print(f"{report.split}: {report.errors} errors, {report.repaired} repaired")
    figures = report.figures
    if figures:
        print(f"  {figures['images']:>7} images, {figures['images_with_labelled_people']} with labelled people")
        print(
            f"  {figures['people']:>7} people, {figures['labelled_people']} with keypoints; {figures['crowds']} crowds"
        )
        sizes = ", ".join(f"{figures[size]} {size}" for size in ("small", "medium", "large"))
        print(f"          with keypoints: {sizes}; at most {figures['most_people_in_an_image']} in an image")
        for joint, counts in figures["keypoints"].items():
            print(f"  {counts['labelled']:>7} {joint} ({counts['visible']} visible)")
    for line in list_complaints(report.complaints):
        print(f"  {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.data", description=DESCRIPTION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder in COCO's layout")
        added.add_argument("--json", action="store_true", help="print one JSON object on stdout, and nothing else")
        added.set_defaults(command=run)
        return added

    checked = command("check", check, "Count what the splits hold and name everything that is wrong.")
    checked.add_argument("--splits", nargs="+", metavar="SPLIT", help="default: all that are there")
    checked.add_argument("--skeleton", type=Path, metavar="FILE", help="YAML of another skeleton than COCO's")
    checked.add_argument("--decode", action="store_true", help="decode every photograph, not only its header")
    checked.add_argument("--max-image-pixels", type=int, metavar="N", help="refuse larger photographs")

    browsed = command("browse", browse, "Draw samples as the network gets them, each beside its mirror twin.")
    browsed.add_argument("--out", type=Path, required=True, metavar="FILE.jpg")
    browsed.add_argument("--split", metavar="SPLIT", help="default: the last that is there")
    browsed.add_argument("--number", type=positive, default=8, metavar="N")
    browsed.add_argument("--columns", type=positive, default=2, metavar="N", help="pairs in a row")
    browsed.add_argument("--seed", type=int, default=0)
    browsed.add_argument("--skeleton", type=Path, metavar="FILE", help="YAML of another skeleton than COCO's")
    browsed.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE", help="e.g. data.augmentation.rotation=30")

    made = command("make", make, "Render people in COCO's layout.")
    made.add_argument("--images", type=positive, default=2000, metavar="N", help="training images")
    made.add_argument("--val-images", type=positive, default=200, metavar="N")
    made.add_argument("--size", type=positive, default=256, metavar="PIXELS")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--workers", type=positive, metavar="N", help="processes; default: as many as there are cores")

    fetched = command("download", download, "Download COCO 2017, verified; an interrupted download goes on.")
    fetched.add_argument("--splits", nargs="+", choices=("train", "val"), default=["train", "val"])
    fetched.add_argument("--base-url", metavar="URL", help="a mirror that has the same archives")
    fetched.add_argument("--keep", action="store_true", help="keep the archives")
    return parser


@dataclass
class _Overrides:
    data: DataConfig = field(default_factory=DataConfig)


def _data_config(overrides: list[str]) -> DataConfig:
    """``DataConfig`` with ``data.key=value`` overrides.

    Raises:
        ValueError: an unknown key, or a value of the wrong type.
    """
    if not overrides:
        return DataConfig()
    from omegaconf import OmegaConf

    from experiments.merging import merge, read_override

    schema = OmegaConf.structured(_Overrides)
    for override in overrides:
        merge(schema, read_override(override), "command line")
    config = cast(_Overrides, OmegaConf.to_object(schema)).data
    config.validate()
    return config


if __name__ == "__main__":
    run_program(main)
