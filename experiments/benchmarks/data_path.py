"""From a file to a batch, per sample, beside decoding the same photographs and nothing else.

    python -m experiments.benchmarks.data_path

Reading, checking, decoding, warping and collating on one core, as a DataLoader's worker does it: up to the memory that
the trainer opens as a batch. The limit reads and decodes the same files with the same decoder. Naive is the pipeline as
most repositories have it: one albumentations operation after the other, keypoints and all, and pixels normalised to
floats in the worker. The peer is torchvision: the same maps of the same photographs, and of pixels alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import albumentations as A
import cv2
import numpy as np
import torch
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor

from datamodules.annotations import Annotations, read_annotations
from datamodules.collate import Collate
from datamodules.config import AugmentationConfig, DataConfig, Resize, View, WarpPlace
from datamodules.device_warp import UnwarpedBatch, warp_batch
from datamodules.geometry import invert
from datamodules.host_memory import keep_freed_memory
from datamodules.image_dataset import ImageDataset, Sample
from datamodules.person_dataset import PersonDataset
from datamodules.sampler import Draw
from datamodules.selection import annotation_file
from datamodules.skeleton import COCO
from datamodules.views import build_dataset
from experiments.benchmarks.measuring import Line, Setting
from experiments.benchmarks.torchvision_data import Shown, batch_of

FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
TURNED = AugmentationConfig(flip=0.5, rotation=40.0, scale=[0.7, 1.3])
ASKED = 0.85
CORES = 16
PEERLESS_WARP = "none samples photographs of several sizes in one call"


class Case(NamedTuple):
    name: str
    config: DataConfig
    train: bool
    batch: int
    why: str
    """What keeps it from the limit."""


A_TENTH = "OpenCV 5's warpAffine takes a tenth of decoding"
CASES = (
    Case(
        "800/1333",
        DataConfig(size=800, max_size=1333, train_size=[640, 800]),
        False,
        2,
        "a photograph of 0.3 megapixels becomes 0.9: enlarging it and parting its colours is most of decoding",
    ),
    Case("640² letterbox", DataConfig(resize=Resize.letterbox, size=640), False, 8, "enlarging it by a third"),
    Case(
        "640² augmented",
        DataConfig(resize=Resize.crop, size=640, augmentation=TURNED),
        True,
        8,
        "OpenCV 5's warpAffine on 640² pixels takes as long as decoding",
    ),
    Case("crop 256×192", DataConfig(view=View.person), False, 16, "OpenCV 5's warpAffine takes a tenth of decoding"),
    Case(
        "crop 256×192 augmented",
        DataConfig(view=View.person, augmentation=TURNED),
        True,
        16,
        "OpenCV 5's warpAffine takes a tenth of decoding",
    ),
)


def photographs(setting: Setting, folder: Path, count: int) -> Annotations:
    """People in real photographs where ``setting.data`` has them, else rendered, at COCO's size, into ``folder``."""
    root = setting.data
    if root is None:
        from datamodules.config import RenderedConfig
        from datamodules.synthetic import make_dataset

        root = folder / "rendered"
        make_dataset(root, RenderedConfig(train_images=1, val_images=count, size=544), progress=False)
    found = read_annotations(annotation_file(root, "val2017"), root / "val2017", COCO)
    return found.select(np.flatnonzero(found.labelled_per_image > 0)[:count])


def decode(files: list[Path]) -> None:
    for file in files:
        cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), FLAGS)


def ours(dataset: ImageDataset, numbers: range, collate: Callable[[list[Sample]], object], batch: int) -> None:
    """As a DataLoader's worker, with a sampler's keys."""
    for start in range(numbers.start, numbers.stop, batch):
        part = range(start, min(start + batch, numbers.stop))
        collate(dataset.__getitems__([Draw(number, 0) for number in part] if dataset.train else part))


def shown_by(dataset: ImageDataset, files: list[Path]) -> list[Shown]:
    """What the inputs of the first samples show of ``files``: in training one draw of each."""
    samples = dataset.__getitems__([Draw(number, 0) if dataset.train else number for number in range(len(files))])
    metas = [sample.meta for sample in samples]
    return [Shown(file, invert(meta.to_original), meta.input_hw) for file, meta in zip(files, metas, strict=True)]


def by_torchvision(shown: list[Shown], batch: int) -> None:
    for start in range(0, len(shown), batch):
        part = shown[start : start + batch]
        batch_of(part, (max(each.hw[0] for each in part), max(each.hw[1] for each in part)))


def one_after_the_other(case: Case) -> A.Compose:
    """The case as albumentations' own operations."""
    config, drawn = case.config, case.config.augmentation
    hw = (config.crop_size[0], config.crop_size[1]) if config.view is View.person else (config.size, config.size)
    if config.resize is Resize.shorter_side and config.view is View.image:
        resize = [A.SmallestMaxSize(config.size)]
    else:
        resize = [A.LongestMaxSize(max_size_hw=hw), A.PadIfNeeded(*hw)]
    turned = (
        [A.HorizontalFlip(p=0.5), A.Affine(scale=tuple(drawn.scale), rotate=(-40, 40), p=1.0)] if case.train else []
    )
    keypoints = A.KeypointParams("xy", remove_invisible=False)
    return A.Compose([*resize, *turned, A.Normalize()], keypoint_params=keypoints)


def naive(dataset: ImageDataset, files: list[Path], numbers: list[int], pipeline: A.Compose, batch: int) -> None:
    annotations, images = dataset.annotations, []
    for file, number in zip(files, numbers, strict=True):
        photograph = cv2.cvtColor(np.asarray(cv2.imread(str(file))), cv2.COLOR_BGR2RGB)
        rows = annotations.people(number)
        if isinstance(dataset.config.view, View) and dataset.config.view is View.person:
            x0, y0, x1, y1 = annotations.boxes[rows][0].astype(int)
            photograph = photograph[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        drawn = pipeline(image=photograph, keypoints=annotations.keypoints[rows].reshape(-1, 2))
        images.append(torch.from_numpy(drawn["image"].transpose(2, 0, 1)).contiguous())
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        torch.stack([torch.nn.functional.pad(image, _padding(image, part)) for image in part])


def _padding(image: torch.Tensor, part: list[torch.Tensor]) -> tuple[int, int, int, int]:
    height, width = (max(other.shape[side] for other in part) for side in (1, 2))
    return 0, width - image.shape[2], 0, height - image.shape[1]


def measure(case: Case, annotations: Annotations, setting: Setting, most: int) -> list[Line]:
    """Two lines: warped in the worker, and left to the device."""
    is_person = case.config.view is View.person
    collate = Collate(32, case.config.size if case.config.resize is not Resize.shorter_side and not is_person else 0)
    here, there = (
        build_dataset(annotations, replace(case.config, warp=place), COCO, train=case.train) for place in WarpPlace
    )
    count = min(len(here), most)
    numbers = here.people.image[:count].tolist() if isinstance(here, PersonDataset) else list(range(count))
    files = [annotations.path(number) for number in numbers]
    runs = {
        "decode": partial(decode, files),
        "worker": partial(ours, here, range(count), collate.parcel, case.batch),
        "device": partial(ours, there, range(count), collate.unwarped_parcel, case.batch),
        "naive": partial(naive, here, files, numbers, one_after_the_other(case), case.batch),
        "torchvision": partial(by_torchvision, shown_by(here, files), case.batch),
    }
    times = {name: value / count for name, value in setting.race(runs, repeats=3, budget=8.0).items()}

    def line(which: str, name: str, why: str) -> Line:
        rate = 1e3 / times[which]
        speed = f"{rate:.0f} images/s per core, {CORES} cores {CORES * rate:.0f}"
        note = f"{speed}; peer: torchvision, pixels alone; limit: decoding alone"
        ours_, plain, peer, limit = (times[form] for form in (which, "naive", "torchvision", "decode"))
        columns = (ours_, plain, peer, limit)
        return Line(f"data, {name}", *columns, against="limit", asked=ASKED, note=note, why_behind=why)

    return [
        line("worker", case.name, case.why),
        line("device", f"{case.name}, warped on the device", "beside decoding, a copy of it and small steps are left"),
    ]


def one_by_one(batch: UnwarpedBatch) -> Tensor:
    """Each photograph by itself through ``grid_sample``, into the batch."""
    photographs = batch.photographs
    images = torch.zeros(len(photographs.hw), 3, *photographs.padded_hw, device=photographs.pixels.device)
    for number, (height, width) in enumerate(photographs.hw.tolist()):
        rest, stride = photographs.pixels[photographs.first[number] :], int(photographs.stride[number])
        part = rest.as_strided((1, height, width, 3), (0, 3 * stride, 3, 1), rest.storage_offset())
        pixels = part.permute(0, 3, 1, 2).float()
        y, x = (torch.arange(side, device=images.device) + 0.5 for side in photographs.padded_hw)
        cells = torch.stack(torch.broadcast_tensors(x, y[:, None]), dim=-1)
        matrix = photographs.to_pixels[number]
        grid = (cells @ matrix[:, :2].T + matrix[:, 2]) * (2 / cells.new_tensor([width, height])) - 1
        padding = "border" if photographs.is_frame[number] else "zeros"
        images[number] = torch.nn.functional.grid_sample(pixels, grid[None], padding_mode=padding, align_corners=False)
    return images.round_().to(torch.uint8)


def warping(case: Case, annotations: Annotations, setting: Setting) -> Line:
    """What the device does for a worker, per sample."""
    dataset = build_dataset(annotations, replace(case.config, warp=WarpPlace.device), COCO, train=case.train)
    samples = dataset.__getitems__(range(min(len(dataset), case.batch)))
    batch: UnwarpedBatch = move_data_to_device(Collate(32).unwarped(samples), torch.device(setting.device))
    fill = torch.zeros(3, device=setting.device)
    images = warp_batch(batch, fill).images
    runs = {
        "ours": lambda: warp_batch(batch, fill),
        "one by one": lambda: one_by_one(batch),
        "limit": lambda: torch.full_like(images, 128),
    }
    mine, single, limit = (value / len(samples) for value in setting.race(runs, repeats=3).values())
    note = f"batches of {len(samples)}; naive: grid_sample, one photograph after the other, with the host waiting"
    note += "; limit: new images of one number"
    without = {"peer": PEERLESS_WARP}
    return Line(f"the device's own warp, {case.name}", mine, single, None, limit, asked=1.0, note=note, without=without)


def lines(setting: Setting, cases: tuple[Case, ...] = CASES, most: int = 24) -> list[Line]:
    """Two lines per case, on the host whatever the device; on a GPU one more for what it warps itself."""
    host = setting._replace(device="cpu")
    keep_freed_memory()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        with tempfile.TemporaryDirectory() as folder:
            annotations = photographs(setting, Path(folder), most if setting.data else min(most, 8))
            count = 4 * most if setting.full else most
            found = [line for case in cases for line in measure(case, annotations, host, count)]
            return found + [warping(case, annotations, setting) for case in cases if setting.is_gpu]
    finally:
        cv2.setNumThreads(threads)


def main() -> None:
    print(f"{'ms per sample':>48}{'decoding':>10}{'ours':>8}{'naive':>8}{'decoding / ours':>17}")
    for line in lines(Setting(data=None)):
        print(f"{line.name:>48}{line.limit:10.2f}{line.ours:8.2f}{line.naive:8.2f}{line.ratio:17.2f}")


if __name__ == "__main__":
    main()
