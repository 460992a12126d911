"""People and maps over a picture in OpenCV's order of channels. NumPy and OpenCV only."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from datamodules.drawing import BGR, draw_people
from datamodules.geometry import compose, translation
from datamodules.skeleton import Skeleton
from experiments.prediction.people import Maps, People

_UNSURE_KEYPOINT = 0.2
"""Keypoints that score less than this times the person's best are not drawn: those outside of the picture above all."""
_OPACITY = 0.7


def draw(
    picture: NDArray[np.uint8], people: People, skeleton: Skeleton, *, min_score: float, with_boxes: bool = True
) -> NDArray[np.uint8]:
    """People who score at least ``min_score`` over ``picture`` u8 [H, W, 3], BGR, the maps below; a new picture."""
    canvas = lay_over(picture, people.maps)
    shown = np.flatnonzero(people.scores >= min_score)
    keypoints = people.keypoints[shown].astype(np.float64)
    best = keypoints[..., 2].max(axis=1, keepdims=True, initial=0.0)
    keypoints[..., 2] /= np.maximum(best, 1e-12)
    return draw_people(
        canvas,
        keypoints,
        skeleton=skeleton,
        scores=people.scores[shown],
        boxes=people.boxes[shown] if with_boxes and people.boxes is not None else None,
        masks=None if people.masks is None else [people.masks[row] for row in shown],
        min_score=_UNSURE_KEYPOINT,
        palette=BGR,
    )


def lay_over(picture: NDArray[np.uint8], maps: tuple[Maps, ...]) -> NDArray[np.uint8]:
    """Maps over a picture; of several, the strongest at each pixel. One channel is a heat, two are a field.

    Heat goes from blue to red and is the more opaque the higher it is. A field's direction is its hue, its length its
    opacity.
    """
    if not maps:
        return picture
    height, width = picture.shape[:2]
    canvas = np.zeros((len(maps[0].values), height, width), np.float32)
    strongest = np.zeros((height, width), np.float32)
    for map_ in maps:
        matrix = compose(translation(0.5, 0.5), map_.to_original, translation(-0.5, -0.5))
        warped = [cv2.warpAffine(channel, matrix, (width, height), flags=cv2.INTER_LINEAR) for channel in map_.values]
        strength = np.linalg.norm(warped, axis=0) if len(warped) > 1 else warped[0]
        is_stronger = strength > strongest
        strongest[is_stronger] = strength[is_stronger]
        canvas[:, is_stronger] = np.stack(warped)[:, is_stronger]
    strongest = np.clip(strongest, 0, 1)
    if len(canvas) > 1:
        angle = np.arctan2(canvas[1], canvas[0]) % (2 * np.pi)
        hues = np.full((height, width, 3), 255, np.uint8)
        hues[..., 0] = (angle * 90 / np.pi).astype(np.uint8) % 180
        colors = cv2.cvtColor(hues, cv2.COLOR_HSV2BGR)
    else:
        colors = cv2.applyColorMap((strongest * 255).astype(np.uint8), cv2.COLORMAP_JET)
    opacity = (_OPACITY * np.sqrt(strongest))[..., None]
    return (picture * (1 - opacity) + colors * opacity).astype(np.uint8)
