"""Heads: skull, face, ears, hair and hats. Lengths are head heights above the chin (see ``Rig.on_head``)."""

from __future__ import annotations

from datamodules.synthetic.face import paint_face
from datamodules.synthetic.rig import SIDES, Rig
from datamodules.synthetic.solids import Figure, Part, Ring, Solid, ball, region
from datamodules.synthetic.wardrobe import Hair, Look, Material

NOSE = (0.0, 0.335, 0.475)
EAR = (0.36, 0.43, -0.03)
"""The left one; the right one has the opposite x."""
_SKULL = (
    # height, half width, front, back
    (0.00, 0.13, 0.36, 0.10),
    (0.08, 0.22, 0.41, 0.00),
    (0.22, 0.29, 0.42, -0.15),
    (0.38, 0.325, 0.42, -0.33),
    (0.55, 0.345, 0.42, -0.44),
    (0.72, 0.34, 0.40, -0.46),
    (0.86, 0.28, 0.31, -0.38),
    (0.95, 0.19, 0.19, -0.26),
    (1.00, 0.09, 0.07, -0.13),
)
_DETAIL = 16.0
"""Head height in canvas pixels below which a face is left to its shading."""


def add_head(figure: Figure, rig: Rig, look: Look) -> None:
    """Add the head, its pieces one upon the other at one depth, and hanging hair at its own."""
    if look.hair in (Hair.bob, Hair.long):
        _add_curtain(figure, rig, look)
    Head(figure, rig, look).add()


class Head:
    """Adds the pieces of a head in the order in which they cover each other."""

    def __init__(self, figure: Figure, rig: Rig, look: Look) -> None:
        self.figure, self.rig, self.look = figure, rig, look
        self.depth = float(rig.on_head(0, 0.5, 0)[2]) + 0.01
        self.is_detailed = figure.camera.scale * rig.body.head > _DETAIL

    def add(self) -> None:
        rig, look = self.rig, self.look
        near, far = (0, 1) if rig.head_frame[2, 0] > 0 else (1, 0)
        faces_viewer = rig.head_frame[2, 2] > 0
        if look.hair is Hair.bun:
            self._piece([ball(rig.on_head(0, 0.88, -0.42), 0.2 * rig.body.head)], look.hair_color)
        if look.hair is Hair.ponytail and faces_viewer:
            self._ponytail()
        self._ear(far)
        skull = self._piece([_ring(rig, *row) for row in _SKULL], look.skin, shadow=True)
        if look.hair is not Hair.bald:
            self._hair(skull)
        if look.beard:
            rows = [row for row in _SKULL if row[0] < 0.36]
            reach = [100.0, 92.0, 86.0]
            outline = region([_ring(rig, *row) for row in rows], [-r for r in reach], reach)
            self.figure.cover(skull, outline, look.hair_color, depth=self.depth)
        if look.hair not in (Hair.bob, Hair.long):
            self._ear(near)
        if self.is_detailed:
            self.figure.also(self.depth, lambda canvas: paint_face(canvas, self.figure, rig, look))
        self._nose()
        if look.hat is not None:
            self._hat(look.hat)
        if look.hair is Hair.ponytail and not faces_viewer:
            self._ponytail()

    def _piece(self, rings: list[Ring], material: Material, shadow: bool = False) -> Solid:
        return self.figure.add(Part.head, rings, material, depth=self.depth, shadow=shadow)

    def _hair(self, skull: Solid) -> None:
        """A cap of hair, then the face cut out of it."""
        rig, look = self.rig, self.look
        grow = 0.09 if look.hair is Hair.curly else 0.035
        lowest = 0.3 if look.hair in (Hair.short, Hair.bun, Hair.ponytail) else 0.15
        rings = []
        for height, half_width, front, back in _SKULL:
            if height > lowest:
                reach = front + grow * 0.6 if height > look.fringe else min(front, 0.1)
                lift = grow * max(0.0, (height - 0.6) / 0.4)
                rings.append(_ring(rig, height + lift, half_width + grow, reach, back - grow))
        self._piece(rings, look.hair_color)
        rows = [row for row in _SKULL if 0.2 < row[0] < look.fringe]
        face = [*(_ring(rig, *row) for row in rows), _ring(rig, look.fringe, 0.325, 0.385, -0.4)]
        reaches = [*(88.0 if row[0] < 0.45 else 74.0 for row in rows), 52.0]
        self.figure.cover(skull, region(face, [-r for r in reaches], reaches), look.skin, depth=self.depth)

    def _ponytail(self) -> None:
        size = self.rig.body.head
        spine = [(0.78, -0.46, 0.08), (0.6, -0.62, 0.13), (0.2, -0.62, 0.12), (-0.2, -0.5, 0.04)]
        self._piece([ball(self.rig.on_head(0, y, z), r * size) for y, z, r in spine], self.look.hair_color)

    def _ear(self, side: int) -> None:
        x, y, z = EAR
        size, frame = self.rig.body.head, self.rig.head_frame
        u, v = frame[:, 2] * 0.06 * size, frame[:, 1] * 0.1 * size
        rings = [Ring(self.rig.on_head(SIDES[side] * out, y, z), u, v) for out in (x - 0.05, x + 0.02)]
        self._piece(rings, self.look.skin, shadow=self.is_detailed)

    def _nose(self) -> None:
        if self.rig.head_frame[2, 2] > -0.2:
            bridge, tip = self.rig.on_head(0, 0.47, 0.39), self.rig.on_head(0, 0.345, 0.435)
            size = self.rig.body.head
            self._piece([ball(bridge, 0.02 * size), ball(tip, 0.052 * size)], self.look.skin, shadow=self.is_detailed)

    def _hat(self, hat: Material) -> None:
        size, frame = self.rig.body.head, self.rig.head_frame
        crown = [
            _ring(self.rig, height + 0.05, half_width + 0.06, front + 0.05, back - 0.06)
            for height, half_width, front, back in _SKULL
            if height > 0.65
        ]
        brim = [
            Ring(self.rig.on_head(0, 0.77, z), frame[:, 0] * w * size, frame[:, 2] * 0.2 * size)
            for z, w in ((0.2, 0.32), (0.5, 0.26))
        ]
        for rings in (crown, brim) if frame[2, 2] > 0 else (brim, crown):
            self._piece(rings, hat, shadow=True)


def _ring(rig: Rig, height: float, half_width: float, front: float, back: float) -> Ring:
    size, frame = rig.body.head, rig.head_frame
    centre = rig.on_head(0, height, (front + back) / 2)
    return Ring(centre, frame[:, 0] * half_width * size, frame[:, 2] * (front - back) / 2 * size)


def _add_curtain(figure: Figure, rig: Rig, look: Look) -> None:
    end = -0.1 if look.hair is Hair.bob else -0.75
    rings = [
        _ring(rig, 0.75, 0.37, 0.02, -0.48),
        _ring(rig, 0.3, 0.4, -0.02, -0.48),
        _ring(rig, end * 0.5, 0.39, -0.08, -0.44),
        _ring(rig, end, 0.33, -0.14, -0.38),
    ]
    figure.add(Part.curtain, rings, look.hair_color, bias=-0.012)
