"""Annotated people on their way from photographs into inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.geometry import Matrix, clip_boxes, determinant, map_boxes, map_points


class People(NamedTuple):
    """N people of photographs, or of inputs, in their pixels."""

    keypoints: NDArray[np.float32]
    """[N, K, 2]; zero where ``visibility`` is 0."""
    visibility: NDArray[np.uint8]
    """[N, K]; in an input 0 too where the keypoint left it, unless ``warp_people`` keeps those."""
    boxes: NDArray[np.float32]
    """[N, 4], x0 y0 x1 y1; in an input the upright box around the mapped box, clipped: without area where the person
    left."""
    areas: NDArray[np.float32]
    """[N]; in an input scaled with the picture, and what was cut off still counts."""

    def select(self, rows: NDArray[np.int64] | slice) -> People:
        return People(self.keypoints[rows], self.visibility[rows], self.boxes[rows], self.areas[rows])


class Placed(NamedTuple):
    """How a photograph became an input."""

    matrix: Matrix
    """From the photograph to the input."""
    hw: tuple[int, int]
    """Height and width of the input."""
    mirrored: bool


def warp_people(
    people: People,
    which: NDArray[np.int64],
    placed: Sequence[Placed],
    flip_permutation: tuple[int, ...],
    *,
    keeps_outside: bool = False,
) -> People:
    """``people`` of photographs, person n of number ``which[n]``, as they are in the inputs ``placed``.

    All of a batch at once: to begin an operation takes longer than to go through the few people of one photograph.
    ``flip_permutation`` exchanges left and right joints where an input is mirrored. N may be 0. With ``keeps_outside``
    keypoints outside their input stay labelled.
    """
    matrices = np.array([each.matrix for each in placed])[which]
    hw = np.array([each.hw for each in placed], dtype=np.float32)[which]
    scales = np.array([abs(determinant(each.matrix)) for each in placed], dtype=np.float32)[which]
    mapped, visibility = map_points(matrices, people.keypoints), people.visibility
    if any(each.mirrored for each in placed):
        is_mirrored = np.array([each.mirrored for each in placed])[which]
        mapped[is_mirrored] = mapped[is_mirrored][:, flip_permutation]
        visibility = np.where(is_mirrored[:, None], visibility[:, flip_permutation], visibility)
    # Rounded before it is judged: what is inside must stay inside in f32.
    points = mapped.astype(np.float32)
    if not keeps_outside:
        visibility = visibility * ((points >= 0) & (points < hw[:, None, ::-1])).all(axis=2)
    points[visibility == 0] = 0
    return People(
        keypoints=points,
        visibility=visibility,
        boxes=clip_boxes(map_boxes(matrices, people.boxes), hw).astype(np.float32),
        areas=people.areas * scales,
    )
