"""Reads photographs as COCO means them: upright as stored, three RGB channels, eight bits, of the size annotated."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_UNREAD = (1, 254, 3)
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_HEAD = 16384
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


class ImageError(ValueError):
    """A photograph that cannot be used; the message is one line that names the file and the fix."""

    def __init__(self, message: str) -> None:
        # A DataLoader worker hands its whole traceback on as the message; the line is at its end.
        super().__init__(message.rstrip().rsplit("ImageError: ", 1)[-1])


def read_photograph(
    path: Path, expected_hw: tuple[int, int] | None, max_pixels: int, into: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """The photograph in ``path`` as u8 [H, W, 3], RGB.

    Grayscale, CMYK, palette and 16-bit files are converted, transparency is left out, an EXIF rotation is ignored.
    The size is taken from the header before anything is decoded.

    Args:
        into: memory of the expected size that the photograph is put into, and decoded in where that can be.

    Raises:
        ImageError: missing, not an image, truncated, of another size than ``expected_hw``, or of more than
            ``max_pixels``.
    """
    if into is not None:
        if not _decoded_in_place(path, expected_hw, max_pixels, into):
            into[:] = read_photograph(path, expected_hw, max_pixels)
        return into
    data = _bytes_of(path)
    size = header_size(data, path)
    _check_size(path, size, expected_hw, max_pixels)
    _check_end(data, path)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    image = _decode_strictly(data, path) if decoded is None else np.asarray(decoded, dtype=np.uint8)
    if image.shape[:2] != size:
        raise ImageError(f"{path}: {_wh(image.shape[:2])} decoded, {_wh(size)} in its header; replace the file")
    return image


def _decoded_in_place(
    path: Path, expected_hw: tuple[int, int] | None, max_pixels: int, into: NDArray[np.uint8]
) -> bool:
    """Whether ``into`` now holds the photograph; if not, anything.

    Raises:
        ImageError: as ``check_photograph``.
    """
    check_photograph(path, expected_hw, max_pixels)
    # Of a file that it cannot begin with OpenCV says nothing, and leaves the memory as it was.
    into[0, 0] = _UNREAD
    decoded = cv2.imread(str(path), into, _FLAGS)
    return decoded is into and tuple(into[0, 0].tolist()) != _UNREAD


def check_photograph(path: Path, expected_hw: tuple[int, int] | None, max_pixels: int) -> None:
    """Everything ``read_photograph`` checks without decoding: presence, format, size, and the file's own end.

    Reads the beginning and the end of the file; the rest only where these leave a doubt.

    Raises:
        ImageError: as ``read_photograph``.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read(_HEAD)
            if len(data) == _HEAD:
                file.seek(-len(_PNG_END), os.SEEK_END)
                data += file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        size = header_size(data, path)
        _check_size(path, size, expected_hw, max_pixels)
        _check_end(data, path)
    except ImageError:
        data = _bytes_of(path)
        _check_size(path, header_size(data, path), expected_hw, max_pixels)
        _check_end(data, path)


def header_size(data: bytes, path: Path) -> tuple[int, int]:
    """Height and width that the header of an image file states, without decoding it.

    Raises:
        ImageError: ``data`` is no image.
    """
    size = None
    if data[:2] == b"\xff\xd8":
        size = _jpeg_size(data)
    elif data[:8] == _PNG and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        size = (height, width)
    if size is None:
        try:
            with Image.open(io.BytesIO(data)) as image:
                size = (image.height, image.width)
        except Exception as error:
            raise ImageError(f"{path}: not an image that can be read; replace the file") from error
    return size


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return (height, width) if height and width else None
        else:
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _check_size(path: Path, size: tuple[int, int], expected_hw: tuple[int, int] | None, max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise ImageError(
            f"{path}: {_wh(size)} is more than data.max_image_pixels={max_pixels}; "
            "shrink the photograph or raise the limit"
        )
    if expected_hw is not None and size != tuple(expected_hw):
        raise ImageError(
            f"{path}: the photograph is {_wh(size)} but its annotation says {_wh(expected_hw)} (width x height); "
            "use the photograph that was annotated"
        )


def _check_end(data: bytes, path: Path) -> None:
    """Refuse truncated files: OpenCV fills what is missing with gray and says nothing.

    A JPEG or PNG that ends as it must is not looked at further.

    Raises:
        ImageError: it is truncated.
    """
    if data.endswith((b"\xff\xd9", _PNG_END)) or (data[:8] == _PNG and _PNG_END in data):
        return
    if data[:8] == _PNG:
        raise ImageError(f"{path}: truncated or damaged (it has no end); replace the file")
    _decode_strictly(data, path)


def _decode_strictly(data: bytes, path: Path) -> NDArray[np.uint8]:
    """Decode with Pillow, which refuses truncated files.

    Raises:
        ImageError: it does.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except Exception as error:
        raise ImageError(f"{path}: truncated or damaged ({error}); replace the file") from error


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path}: {error.strerror or error}; put the photograph there or correct data.root")


def _wh(hw: tuple[int, ...]) -> str:
    return f"{hw[1]}x{hw[0]}"
