"""People in your own pictures, by a trained checkpoint.

    python -m experiments.predict --checkpoint runs/inspose/NAME photo.jpg holiday/ 'frames/**/*.png'
    python -m experiments.predict --checkpoint runs/ssn/NAME clip.mp4 --detector torchvision
    python -m experiments.predict --checkpoint runs/openpose_ssal/NAME photo.jpg --show paf
    python -m experiments.predict --checkpoint runs/inspose/NAME 0            (camera 0, until Ctrl-C)

Writes to --out: a drawn .jpg or .mp4 for each input, predictions.json (COCO's result format), images.json (which
picture an image_id is), and where there are any masks.json and the detector's boxes.json.

exit codes: 0 done; 1 some input could not be used, the rest is done; 2 refused; 130 interrupted by Ctrl-C, what was
done until then is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.command_line import INTERRUPTED, answer, positive, run_program, shorten

if TYPE_CHECKING:
    import torch

    from experiments.checkpoint import Trained
    from experiments.prediction.boxes import BoxSource
    from experiments.prediction.people import Overlay

FAULTY = 1
CPU_BATCH = 8


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    return answer(lambda report: _predict(options, report), as_json=options.json)


def _predict(options: argparse.Namespace, report: dict[str, Any]) -> int:
    report["faults"] = []
    from experiments.prediction.inputs import find_sources

    sources = find_sources(options.inputs)
    from experiments.quiet import quieten

    quieten()

    from experiments.checkpoint import load_trained
    from experiments.prediction.outputs import Writer
    from experiments.prediction.people import Estimator
    from experiments.prediction.session import run

    trained = load_trained(options.checkpoint, options.set)
    device = _device(options.device)
    boxes = _boxes(options, trained, device)
    estimator = Estimator(
        trained.module,
        trained.config.data,
        trained.skeleton,
        device=device,
        precision=trained.config.trainer.precision,
        overlay=_overlay(trained.config.paper, options.show),
        as_trained=options.exact,
    )
    writer = Writer(
        options.out,
        sources,
        trained.skeleton,
        min_score=options.min_score,
        draws=not options.no_pictures,
        draws_boxes=not options.whole_image,
        keeps_boxes=options.detector is not None,
    )
    outcome = run(
        estimator,
        sources,
        boxes,
        writer,
        batch_size=options.batch or _batch_size(trained, device, exact=options.exact),
        max_pixels=trained.config.data.max_image_pixels,
        limit=options.limit,
    )
    faults = [*outcome.faults, *_unused(boxes)]
    report.update(outcome._asdict(), faults=faults, out=str(options.out), device=str(device))
    if not options.json:
        _summarise(report, None if options.no_pictures else options.min_score)
    if outcome.interrupted:
        return INTERRUPTED
    return FAULTY if faults else 0


def _device(name: str | None) -> torch.device:
    import torch

    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from error


def _batch_size(trained: Trained, device: torch.device, *, exact: bool) -> int:
    """The evaluation's; on a CPU so few that they stay near its caches, and all stages are busy in a short clip."""
    of_evaluation = trained.config.data.val_batch_size
    return of_evaluation if exact or device.type != "cpu" else min(of_evaluation, CPU_BATCH)


def _boxes(options: argparse.Namespace, trained: Trained, device: torch.device) -> BoxSource | None:
    """Where to look, for papers that look at one person at a time.

    Raises:
        ValueError: such a paper without boxes, or boxes for another; boxes that cannot be used.
    """
    from datamodules.config import View
    from experiments.prediction.boxes import BoxesFromFile, TorchvisionDetector, whole_image

    paper, data = trained.config.paper, trained.config.data
    is_given = options.whole_image or options.boxes is not None or options.detector is not None
    if data.view is not View.person:
        if is_given:
            raise ValueError(f"{paper} finds people itself: leave out --boxes, --detector and --whole-image")
        return None
    if not is_given:
        raise ValueError(
            f"{paper} looks at one person at a time: give --boxes FILE, --detector torchvision or --whole-image"
        )
    if options.whole_image:
        return whole_image
    if options.boxes is not None:
        return BoxesFromFile(options.boxes, data.detections)
    return TorchvisionDetector(device)


def _unused(boxes: BoxSource | None) -> list[str]:
    from experiments.prediction.boxes import BoxesFromFile

    if isinstance(boxes, BoxesFromFile) and boxes.by_key and not boxes.matched:
        key = next(iter(boxes.by_key))
        line = f"{boxes.file}: none of the pictures is named by its keys, such as {key!r}; images.json lists the ids"
        print(line, file=sys.stderr)
        return [line]
    return []


def _overlay(paper: str, name: str | None) -> Overlay | None:
    """Raises:
    ValueError: the paper has no such maps.
    """
    from lightning_modules.papers import load

    if name is None:
        return None
    try:
        overlays: dict[str, Overlay] = load(f"lightning_modules.{paper}.overlays:OVERLAYS")
    except ModuleNotFoundError as error:
        raise ValueError(f"--show {name}: {paper} has no maps to show") from error
    if name not in overlays:
        raise ValueError(f"--show {name}: {paper} can show {', '.join(overlays)}")
    return overlays[name]


def _summarise(report: dict[str, Any], min_score: float | None) -> None:
    people = "1 person" if report["people"] == 1 else f"{report['people']} people"
    images = "1 image" if report["images"] == 1 else f"{report['images']} images"
    found = f"{people} in {images}, {report['images_per_s']:.1f} images/s"
    if min_score is not None and report["drawn"] < report["people"]:
        found += f", {report['drawn']} drawn (--min-score {min_score:g})"
    print(f"{found}; {report['out']}{os.sep}")
    if report["faults"]:
        count = "1 input" if len(report["faults"]) == 1 else f"{len(report['faults'])} inputs"
        print(f"{count} could not be used:", file=sys.stderr)
        for line in shorten(report["faults"]):
            print(f"  {line}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image, folder, glob, video, or number of a camera")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="RUN", help="folder of a run, or a .ckpt file"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: predictions")
    looked = parser.add_argument_group("where top-down papers look (one of these)").add_mutually_exclusive_group()
    looked.add_argument("--boxes", type=Path, metavar="FILE", help="COCO detections, by image_id or file_name")
    looked.add_argument("--detector", choices=("torchvision",), help="find people by a pretrained detector")
    looked.add_argument("--whole-image", action="store_true", help="each picture is one person")
    parser.add_argument(
        "--show", metavar="MAPS", help="lay the paper's maps over: heatmap, paf, attention, dynamic_filters"
    )
    parser.add_argument(
        "--min-score", type=float, default=0.3, metavar="S", help="draw people from this score on (0.3)"
    )
    parser.add_argument("--no-pictures", action="store_true", help="JSON alone")
    parser.add_argument("--limit", type=positive, metavar="N", help="frames of each video and camera")
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="samples at once; default: the evaluation's, on a CPU at most 8"
    )
    parser.add_argument(
        "--exact", action="store_true", help="the network as trained: slower, and an evaluation's very figures"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change the run's test, e.g. model.flip_test=true",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, all else on stderr")
    return parser


if __name__ == "__main__":
    run_program(main)
