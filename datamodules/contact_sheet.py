"""Pictures side by side on one sheet, with captions. NumPy and OpenCV only."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from datamodules.drawing import Color, checked_copy

_BACKGROUND: Color = (24, 26, 32)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(
    images: Sequence[np.ndarray],
    columns: int,
    *,
    cell: int | None = None,
    captions: Sequence[str] | None = None,
    gap: int = 4,
) -> np.ndarray:
    """Lay images out in a grid, each scaled to the side of a cell and centred, with its caption below.

    Args:
        images: u8 [H, W, 3] each, of any sizes.
        columns: cells per row.
        cell: longest side of every image on the sheet, pixels; None is the longest side of all images.
        captions: one line per image; shortened to the cell's width.

    Returns:
        u8 [H, W, 3], W = columns · (cell + gap) + gap; a row is as high as its highest image, plus caption and gap.

    Raises:
        ValueError: no image, columns below 1, or another number of captions than of images.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    if columns < 1:
        raise ValueError(f"columns: {columns}, expected at least 1")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"captions: {len(captions)} for {len(images)} images")
    side = cell if cell is not None else max(max(image.shape[:2]) for image in images)
    strip = 0 if captions is None else 18
    fitted = [_fit(checked_copy(image), side) for image in images]
    rows = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    heights = [max(fitted[index].shape[0] for index in row) for row in rows]
    height = sum(heights) + len(rows) * (strip + gap) + gap
    sheet = np.full((height, columns * (side + gap) + gap, 3), _BACKGROUND, np.uint8)
    top = gap
    for row, row_height in zip(rows, heights, strict=True):
        for index in row:
            left = gap + (index - row.start) * (side + gap)
            h, w = fitted[index].shape[:2]
            y, x = top + (row_height - h) // 2, left + (side - w) // 2
            sheet[y : y + h, x : x + w] = fitted[index]
            if captions is not None:
                text, place = _shortened(captions[index], side - 4), (left + 2, top + row_height + 13)
                cv2.putText(sheet, text, place, _FONT, 0.4, (214, 218, 226), 1, cv2.LINE_AA)
        top += row_height + strip + gap
    return sheet


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale == 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _shortened(text: str, width: int) -> str:
    while len(text) > 1 and cv2.getTextSize(text, _FONT, 0.4, 1)[0][0] > width:
        text = text[:-2].rstrip() + "…" if text.endswith("…") else text[:-1].rstrip() + "…"
    return text
