"""Pictures one after the other, from files, folders, globs, videos and cameras."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.orientation import upright
from datamodules.photographs import ImageError, read_photograph

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
_MISSING_FRAMES = 0.05
"""choice: a video that ends this much before the length in its header is reported; headers are often off by a few."""

Report = Callable[[str], None]
"""Takes one line about an input that cannot be used."""


class InputError(ValueError):
    """An input that names nothing; one line."""


class Kind(Enum):
    image = "image"
    video = "video"
    camera = "camera"


class Source(NamedTuple):
    """One file, or one camera."""

    kind: Kind
    path: Path
    """Of a camera, its index."""


class Picture(NamedTuple):
    """One image or frame."""

    image_id: int
    name: str
    """File name; of a frame ``<file name>#<number>``, counted from 0."""
    source: Source
    pixels: NDArray[np.uint8]
    """u8 [H, W, 3], upright, BGR: a frame as it is read, drawn on and written."""
    frame: int | None
    rate: float
    """Frames per second of a video; 0 of an image."""


def find_sources(inputs: Sequence[str]) -> list[Source]:
    """What ``inputs`` name, each file once, folders and globs in the order of names.

    A whole number that is no file is a camera. A folder gives its images and videos, not those of its folders. A file
    that is named is taken whatever it is called.

    Raises:
        InputError: an input that does not exist, or names no image and no video.
    """
    found: dict[Source, None] = {}
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            sources = [_source(file) for file in sorted(path.iterdir()) if _is_known(file)]
            if not sources:
                raise InputError(
                    f"{text}: holds no image or video; give its subfolder, or a glob such as '{text}/**/*.jpg'"
                )
        elif path.is_file():
            sources = [_source(path)]
        elif text.isdecimal():
            sources = [Source(Kind.camera, path)]
        else:
            files = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
            sources = [_source(file) for file in files if _is_known(file)]
            if not sources:
                raise InputError(f"{text}: no such file, folder, or glob with images or videos, and no camera number")
        found.update(dict.fromkeys(sources))
    return list(found)


def number_images(sources: Sequence[Source]) -> dict[Source, int]:
    """The ids of the image files: the numbers they are called by, as COCO's are, if all have one of their own.

    Otherwise 1, 2, … in order.
    """
    images = [source for source in sources if source.kind is Kind.image]
    stems = [source.path.stem for source in images]
    numbers = [int(stem) if stem.isascii() and stem.isdecimal() else -1 for stem in stems]
    if -1 in numbers or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(images) + 1))
    return dict(zip(images, numbers, strict=True))


def count_pictures(sources: Sequence[Source], limit: int | None = None) -> int | None:
    """How many pictures are to come, as headers say; None where a camera or a video does not say."""
    total = 0
    for source in sources:
        if source.kind is Kind.image:
            total += 1
            continue
        frames = _frame_count(source)
        if limit is not None:
            frames = limit if frames is None else min(frames, limit)
        if frames is None:
            return None
        total += frames
    return total


def read_pictures(
    sources: Sequence[Source],
    report: Report,
    *,
    max_pixels: int,
    limit: int | None = None,
    decoding_threads: int | None = None,
) -> Iterator[Picture]:
    """The pictures of all sources in order. What cannot be read is reported in a line and left out.

    Args:
        report: called with the line.
        max_pixels: larger images are not decoded.
        limit: frames of each video and camera; None is all.
        decoding_threads: of a video; None leaves it to the decoder. One takes a sixth less work than two.
    """
    ids = number_images(sources)
    following = max(ids.values(), default=0) + 1
    for source in sources:
        if source.kind is Kind.image:
            try:
                photograph = upright(read_photograph(source.path, None, max_pixels), source.path)
            except (ImageError, OSError) as error:
                report(" ".join(str(error).split()))
                continue
            pixels = np.asarray(cv2.cvtColor(photograph, cv2.COLOR_RGB2BGR), dtype=np.uint8)
            yield Picture(ids[source], source.path.name, source, pixels, None, 0.0)
        else:
            for picture in _frames(source, following, report, limit, decoding_threads):
                following = picture.image_id + 1
                yield picture


def _frames(source: Source, first_id: int, report: Report, limit: int | None, threads: int | None) -> Iterator[Picture]:
    capture = _open(source, threads)
    label = f"camera {source.path}" if source.kind is Kind.camera else str(source.path)
    try:
        expected = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if source.kind is Kind.video else 0
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1000 else 25.0
        count = 0
        while limit is None or count < limit:
            is_there, pixels = capture.read()
            if not is_there:
                break
            name = f"{source.path.name}#{count}"
            yield Picture(first_id + count, name, source, np.asarray(pixels, dtype=np.uint8), count, rate)
            count += 1
    finally:
        capture.release()
    wanted = expected if limit is None else min(expected, limit)
    if count == 0:
        report(f"{label}: no frame can be read; is it a video that OpenCV decodes, or a camera that is free?")
    elif count < wanted * (1 - _MISSING_FRAMES):
        report(f"{label}: ends after {count} of the {wanted} frames that its header states; it is cut off or damaged")


def _frame_count(source: Source) -> int | None:
    if source.kind is Kind.camera:
        return None
    capture = _open(source)
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return max(frames, 0)


def _open(source: Source, threads: int | None = None) -> cv2.VideoCapture:
    if source.kind is Kind.camera:
        return cv2.VideoCapture(int(str(source.path)))
    if threads is not None:
        capture = cv2.VideoCapture(str(source.path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        if capture.isOpened():
            return capture
    return cv2.VideoCapture(str(source.path))


def _source(path: Path) -> Source:
    return Source(Kind.video if path.suffix.lower() in VIDEOS else Kind.image, path)


def _is_known(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGES | VIDEOS and not path.name.startswith(".")
