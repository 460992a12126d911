"""A dressed figure: a rig and a look become solids."""

from __future__ import annotations

from datamodules.synthetic.head import add_head
from datamodules.synthetic.limbs import add_arm, add_leg
from datamodules.synthetic.rig import Rig
from datamodules.synthetic.solids import Camera, Figure, Part, ball
from datamodules.synthetic.trunk import add_bag, add_seat, add_skirt, add_trunk
from datamodules.synthetic.wardrobe import Bottom, Look, Material

_TINY = 90.0
"""Standing height in canvas pixels below which small things are left out."""


def dress(rig: Rig, look: Look, camera: Camera, person: int, seat: Material | None = None) -> Figure:
    """Build the figure of one person.

    Args:
        person: 1 or more; becomes the owner of the pixels.
        seat: a stool under the person, which is nobody's.
    """
    if camera.scale < _TINY:
        look = look.from_afar()
    figure = Figure(camera, person)
    for side in (0, 1):
        add_leg(figure, rig, look, side)
        add_arm(figure, rig, look, side)
    add_trunk(figure, rig, look)
    if look.bottom in (Bottom.skirt, Bottom.dress):
        add_skirt(figure, rig, look)
    if look.bag is not None:
        add_bag(figure, rig, look.bag)
    girth = rig.body.girth
    base, top = rig.chest - rig.chest_frame @ (0, 0.01, 0), rig.chin + rig.head_frame @ (0, 0.02, 0)
    figure.add(Part.neck, [ball(base, 0.034 * girth), ball(top, 0.03 * girth)], look.skin, bias=-0.03)
    add_head(figure, rig, look)
    if seat is not None:
        add_seat(figure, rig, seat)
    return figure
