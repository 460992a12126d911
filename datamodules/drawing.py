"""Pictures of poses: people over a photograph, ignored regions. NumPy and OpenCV only.

Every image is u8 [H, W, 3], RGB if nothing else is said, and is copied, never changed. Coordinates follow
``datamodules.contracts``: continuous, pixel ``i`` covers ``[i, i + 1)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np

from datamodules.skeleton import COCO, Skeleton

Color: TypeAlias = tuple[int, int, int]

SIDE_COLORS: dict[str, Color] = {"left": (38, 139, 255), "right": (255, 157, 20), "middle": (240, 96, 200)}
"""Blue, orange and magenta stay apart under the three common kinds of colour blindness."""
PERSON_COLORS: tuple[Color, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (148, 130, 255),
)
"""Boxes and masks, in turn (after Okabe and Ito)."""
_OUTLINE: Color = (22, 24, 32)


class Palette(NamedTuple):
    """Colours in one order of channels."""

    sides: tuple[Color, Color, Color]
    """Left, right, middle."""
    people: tuple[Color, ...]
    outline: Color

    def side(self, name: str) -> Color:
        return self.sides[tuple(SIDE_COLORS).index(name)]

    def person(self, number: int) -> Color:
        return self.people[number % len(self.people)]


def _backwards(color: Color) -> Color:
    red, green, blue = color
    return blue, green, red


_LEFT, _RIGHT, _MIDDLE = SIDE_COLORS.values()
RGB = Palette((_LEFT, _RIGHT, _MIDDLE), PERSON_COLORS, _OUTLINE)
BGR = Palette(
    (_backwards(_LEFT), _backwards(_RIGHT), _backwards(_MIDDLE)),
    tuple(_backwards(color) for color in PERSON_COLORS),
    _backwards(_OUTLINE),
)
"""As OpenCV reads and writes pictures."""
_WHITE: Color = (255, 255, 255)
_SHADE = 0.55
"""How much of its light a shaded region loses."""
_HATCH_SPACING = 9
"""Pixels."""
_BITS = 4  # sub-pixel bits of OpenCV's fixed-point coordinates
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_people(
    image: np.ndarray,
    keypoints: np.ndarray,
    visibility: np.ndarray | None = None,
    *,
    skeleton: Skeleton = COCO,
    scores: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    masks: Sequence[np.ndarray] | np.ndarray | None = None,
    min_score: float = 0.0,
    thickness: float | None = None,
    palette: Palette = RGB,
) -> np.ndarray:
    """Draw P people, the first on top: masks below, boxes, limbs, joints and score labels over them.

    Args:
        image: u8 [H, W, 3], in the palette's order of channels.
        keypoints: [P, K, 2] or [P, K, 3], continuous pixels of ``image``; the third column is the keypoint's score.
        visibility: [P, K]; 0 is not drawn, 1 a hollow joint with a faint limb, 2 a filled one. None is 2 everywhere.
        scores: [P], written beside each person.
        boxes: [P, 4], x0 y0 x1 y1.
        masks: P bool masks, each over the whole image at any resolution.
        min_score: a keypoint that scores less is not drawn.
        thickness: of the limbs, pixels; None follows the size of each person.

    Returns:
        u8 [H, W, 3], a new image. Keypoints that are not finite are left out; P = 0 gives a plain copy.

    Raises:
        ValueError: the image is not u8 [H, W, 3], or an array does not fit the skeleton or the number of people.
    """
    canvas = checked_copy(image)
    points, shown = _checked_keypoints(keypoints, visibility, skeleton, min_score)
    for name, given in (("scores", scores), ("boxes", boxes), ("masks", masks)):
        if given is not None and len(given) != len(points):
            raise ValueError(f"{name}: {len(given)} entries for {len(points)} people")
    for person, mask in reversed(list(enumerate(() if masks is None else masks))):
        _tint(canvas, mask, palette.person(person))
    for person in reversed(range(len(points))):
        box = None if boxes is None else np.asarray(boxes[person], dtype=np.float64)
        width = thickness if thickness is not None else _limb_width(points[person], shown[person], box)
        color = palette.person(person)
        if box is not None:
            _draw_box(canvas, box, color)
        centres = _all_fixed(points[person], shown[person])
        _draw_limbs(canvas, centres, shown[person].tolist(), skeleton, width, palette)
        _draw_joints(canvas, points[person], centres, shown[person], skeleton, width, palette)
        if scores is not None:
            score = float(scores[person])  # a probability, or a sum over joints and limbs
            text = f"{score:.2f}" if score < 10 else f"{score:.0f}"
            _draw_label(canvas, text, _label_corner(points[person], shown[person], box), color, palette)
    return canvas


def shade(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Darken and hatch the pixels of a region, such as ``PoseBatch.ignore``.

    Args:
        image: u8 [H, W, 3], RGB.
        region: bool [h, w] over the whole image, at any resolution.

    Returns:
        u8 [H, W, 3], a new image.
    """
    canvas = checked_copy(image)
    inside = _full_size(region, canvas.shape[:2])
    rows, columns = np.indices(inside.shape)
    hatch = (rows + columns) % _HATCH_SPACING < 2
    canvas[inside] = (canvas[inside] * (1.0 - _SHADE)).astype(np.uint8)
    lines = inside & hatch
    canvas[lines] = (canvas[lines] * 0.6 + 255 * 0.4 * _SHADE).astype(np.uint8)
    return canvas


def checked_copy(image: np.ndarray) -> np.ndarray:
    """A copy to draw on.

    Raises:
        ValueError: the image is not u8 [H, W, 3].
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3]")
    return np.array(image, order="C")


def _checked_keypoints(
    keypoints: np.ndarray, visibility: np.ndarray | None, skeleton: Skeleton, min_score: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points f64 [P, K, 2] and what is shown of each, u8 [P, K]."""
    values = np.asarray(keypoints, dtype=np.float64)
    if values.size == 0:
        values = values.reshape(0, skeleton.num_keypoints, 2)
    if values.ndim != 3 or values.shape[1] != skeleton.num_keypoints or values.shape[2] not in (2, 3):
        expected = f"[P, {skeleton.num_keypoints}, 2 or 3] for skeleton {skeleton.name}"
        raise ValueError(f"keypoints: {list(values.shape)}, expected {expected}")
    people, joints = values.shape[:2]
    shown = np.full((people, joints), 2, np.uint8) if visibility is None else np.array(visibility, dtype=np.uint8)
    shown = shown.reshape(0, joints) if people == 0 else shown
    if shown.shape != (people, joints):
        raise ValueError(f"visibility: {list(shown.shape)}, expected {[people, joints]}")
    shown[~np.isfinite(values[..., :2]).all(-1)] = 0
    if values.shape[2] == 3:
        shown[~(values[..., 2] >= min_score)] = 0
    return values[..., :2], shown


def _limb_width(points: np.ndarray, shown: np.ndarray, box: np.ndarray | None) -> float:
    """A fiftieth of the person's extent, between 1.5 and 9 pixels."""
    corners = points[shown > 0] if box is None else box.reshape(2, 2)
    extent = float(np.ptp(corners, axis=0).max()) if len(corners) else 0.0
    return min(max(extent / 50, 1.5), 9.0)


def _fixed(points: np.ndarray) -> list[list[int]]:
    """Finite continuous coordinates [n, 2] in OpenCV's fixed point, whose pixel centres are whole numbers."""
    return np.rint(((points - 0.5) * (1 << _BITS)).clip(-(2**24), 2**24)).astype(int).tolist()


def _all_fixed(points: np.ndarray, shown: np.ndarray) -> list[list[int]]:
    """As ``_fixed``; of points that are not shown anything."""
    return _fixed(np.where(shown[:, None] > 0, points, 0.0))


@lru_cache(maxsize=8)
def _colored_limbs(skeleton: Skeleton, palette: Palette) -> tuple[tuple[int, int, Color], ...]:
    """Both joints of each limb, and the colour of its side; a limb from left to right is of the middle."""
    limbs = []
    for a, b in skeleton.limb_indices:
        sides = {skeleton.side(a), skeleton.side(b)} - {"middle"}
        limbs.append((a, b, palette.side(sides.pop() if len(sides) == 1 else "middle")))
    return tuple(limbs)


@lru_cache(maxsize=8)
def _joint_colors(skeleton: Skeleton, palette: Palette) -> tuple[Color, ...]:
    return tuple(palette.side(skeleton.side(joint)) for joint in range(skeleton.num_keypoints))


def _draw_limbs(
    canvas: np.ndarray,
    centres: list[list[int]],
    shown: list[int],
    skeleton: Skeleton,
    width: float,
    palette: Palette,
) -> None:
    limbs = [limb for limb in _colored_limbs(skeleton, palette) if shown[limb[0]] and shown[limb[1]]]
    if not limbs:
        return
    is_faint = [shown[a] == 1 or shown[b] == 1 for a, b, _ in limbs]
    faint = canvas.copy() if any(is_faint) else canvas
    for grow, outline in ((2, palette.outline), (0, None)):
        stroke = max(1, round(width) + grow)
        for (a, b, color), fades in zip(limbs, is_faint, strict=True):
            layer = faint if fades else canvas
            cv2.line(layer, centres[a], centres[b], outline or color, stroke, cv2.LINE_AA, _BITS)
    if any(is_faint):
        cv2.addWeighted(faint, 0.5, canvas, 0.5, 0, dst=canvas)


def _draw_joints(
    canvas: np.ndarray,
    points: np.ndarray,
    centres: list[list[int]],
    shown: np.ndarray,
    skeleton: Skeleton,
    width: float,
    palette: Palette,
) -> None:
    drawn, colors = np.flatnonzero(shown), _joint_colors(skeleton, palette)
    gaps = np.linalg.norm(points[drawn, None] - points[None, drawn], axis=-1) + np.diag(np.full(len(drawn), np.inf))
    for joint, gap in zip(drawn.tolist(), gaps.min(axis=1, initial=np.inf).tolist(), strict=True):
        color, centre = colors[joint], centres[joint]
        radius = max(min(width * 0.95, gap * 0.4), 1.2)
        if shown[joint] == 1:
            for stroke, ring in ((3, palette.outline), (1, color)):
                cv2.circle(canvas, centre, round(radius * (1 << _BITS)), ring, stroke, cv2.LINE_AA, _BITS)
            continue
        for grow, fill in ((1.4, palette.outline), (0.7, _WHITE), (-0.3, color)):
            cv2.circle(canvas, centre, round((radius + grow) * (1 << _BITS)), fill, cv2.FILLED, cv2.LINE_AA, _BITS)


def _draw_box(canvas: np.ndarray, box: np.ndarray, color: Color) -> None:
    if np.isfinite(box).all():
        low, high = _fixed(box.reshape(2, 2))
        cv2.rectangle(canvas, low, high, color, 1, cv2.LINE_AA, _BITS)


def _label_corner(points: np.ndarray, shown: np.ndarray, box: np.ndarray | None) -> np.ndarray | None:
    """Top left of the person, continuous pixels [2], or None for a person of whom nothing is drawn."""
    if box is not None:
        return box[:2] if np.isfinite(box).all() else None
    return points[shown > 0].min(axis=0) - (0, 6) if shown.any() else None


def _draw_label(canvas: np.ndarray, text: str, corner: np.ndarray | None, color: Color, palette: Palette) -> None:
    if corner is None:
        return
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.4, 1)
    left, top = corner.tolist()
    x = int(min(max(left, 0), max(canvas.shape[1] - width - 6, 0)))
    y = int(min(max(top, height + 7), canvas.shape[0]))
    cv2.rectangle(canvas, (x, y - height - 7), (x + width + 5, y - 1), color, cv2.FILLED)
    cv2.putText(canvas, text, (x + 3, y - 4), _FONT, 0.4, palette.outline, 1, cv2.LINE_AA)


def _tint(canvas: np.ndarray, mask: np.ndarray, color: Color, opacity: float = 0.35) -> None:
    inside = _full_size(mask, canvas.shape[:2]).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(inside)
    if width == 0:
        return
    window = (slice(y, y + height), slice(x, x + width))
    levels = np.arange(256)[:, None] * (1 - opacity) + np.array(color) * opacity
    tinted = cv2.LUT(canvas[window], levels.astype(np.uint8)[None])
    cv2.copyTo(tinted, inside[window], canvas[window])
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, color, 1, cv2.LINE_AA)


def _full_size(region: np.ndarray, hw: tuple[int, ...]) -> np.ndarray:
    """A bool region at the resolution of the image, by nearest neighbour."""
    region = np.asarray(region)
    if region.ndim != 2:
        raise ValueError(f"region: {list(region.shape)}, expected [h, w]")
    if region.shape == tuple(hw):
        return region.astype(bool)
    return cv2.resize(region.astype(np.uint8), (hw[1], hw[0]), interpolation=cv2.INTER_NEAREST).astype(bool)
