"""Looks: what a person wears, their hair and their colours.

Some things are worn on one side only, always the same: the watch on the left wrist, the badge on the left of the chest,
the arm band on the left arm; the bag hangs on the right hip, its strap over the left shoulder. They and the face tell
left from right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from datamodules.synthetic.chance import choose
from datamodules.synthetic.palette import Color, blend, difference, jittered, sample_grey, sample_skin, sample_vivid


class Pattern(Enum):
    plain = "plain"
    hoops = "hoops"
    """Stripes around the part."""
    stripes = "stripes"
    """Stripes along the part."""
    checks = "checks"
    block = "block"
    """The upper part in the second colour."""


@dataclass(frozen=True)
class Material:
    color: Color
    second: Color = (255, 255, 255)
    pattern: Pattern = Pattern.plain
    period: float = 0.05
    """Of the pattern, in standing heights."""


class Hair(Enum):
    bald = "bald"
    short = "short"
    bob = "bob"
    long = "long"
    bun = "bun"
    ponytail = "ponytail"
    curly = "curly"


class Top(Enum):
    tee = "tee"
    sleeves = "sleeves"
    tank = "tank"
    jacket = "jacket"


class Bottom(Enum):
    trousers = "trousers"
    shorts = "shorts"
    skirt = "skirt"
    dress = "dress"


@dataclass(frozen=True)
class Look:
    skin: Material
    hair: Hair
    hair_color: Material
    fringe: float
    """Height of the hairline, in head heights above the chin."""
    top: Top
    shirt: Material
    jacket: Material
    sleeve: Material
    bottom: Bottom
    lower: Material
    shoe: Material
    sock: Material | None
    loose: float
    """Room between cloth and limb, in standing heights."""
    skirt_length: float
    """Fraction of the thigh, 1 at the knee."""
    beard: bool
    glasses: bool
    hat: Material | None
    badge: Color | None
    armband: Color | None
    watch: Color | None
    bag: Material | None
    iris: Color
    lips: Color
    cheeks: Color | None

    def from_afar(self) -> Look:
        """Without the small things."""
        return replace(self, badge=None, armband=None, watch=None, bag=None, sock=None, glasses=False)


_HAIRS: tuple[Color, ...] = (
    (34, 28, 28),
    (58, 40, 30),
    (92, 60, 38),
    (134, 88, 50),
    (206, 164, 96),
    (232, 204, 150),
    (162, 74, 36),
    (176, 176, 180),
    (44, 44, 56),
)
_TROUSERS: tuple[Color, ...] = (
    (52, 70, 108),
    (84, 108, 150),
    (44, 46, 56),
    (96, 84, 70),
    (172, 154, 122),
    (110, 112, 118),
    (70, 84, 64),
    (34, 38, 50),
)


def sample_look(rng: np.random.Generator, childhood: bool) -> Look:
    """Draw a look; a child has neither beard nor bald head."""
    skin = sample_skin(rng)
    hair = list(Hair)[choose(rng, [0.06, 0.32, 0.16, 0.16, 0.1, 0.1, 0.1])]
    if childhood and hair is Hair.bald:
        hair = Hair.short
    hair_color = Material(jittered(rng, _HAIRS[int(rng.integers(len(_HAIRS)))], 8))
    shirt = sample_cloth(rng)
    while difference(shirt.color, skin) < 60:
        shirt = sample_cloth(rng)
    jacket = Material(sample_vivid(rng, dark=True))
    top = list(Top)[choose(rng, [0.42, 0.34, 0.1, 0.14])]
    bottom = list(Bottom)[choose(rng, [0.58, 0.22, 0.12, 0.08])]
    if bottom is Bottom.dress and top is Top.jacket:
        top = Top.tee
    sleeve = jacket if top is Top.jacket else shirt
    if top is not Top.jacket and rng.random() < 0.2:  # raglan sleeves
        sleeve = Material(sample_vivid(rng))
    lower = Material(jittered(rng, _TROUSERS[int(rng.integers(len(_TROUSERS)))], 10))
    if bottom is Bottom.skirt or rng.random() < 0.3:
        lower = sample_cloth(rng)
    short_hair = hair in (Hair.short, Hair.bald)
    return Look(
        skin=Material(skin),
        hair=hair,
        hair_color=hair_color,
        fringe=float(rng.uniform(0.68, 0.84)),
        top=top,
        shirt=shirt,
        jacket=jacket,
        sleeve=sleeve,
        bottom=bottom,
        lower=shirt if bottom is Bottom.dress else lower,
        shoe=Material(sample_vivid(rng) if rng.random() < 0.45 else sample_grey(rng)),
        sock=Material(sample_grey(rng, light=True)) if rng.random() < 0.5 else None,
        loose=(0.002, 0.005, 0.01)[choose(rng, [0.35, 0.45, 0.2])],
        skirt_length=float(rng.uniform(0.55, 1.25)),
        beard=short_hair and not childhood and rng.random() < 0.3,
        glasses=bool(rng.random() < 0.16),
        hat=sample_cloth(rng) if rng.random() < 0.16 else None,
        badge=sample_vivid(rng) if rng.random() < 0.4 else None,
        armband=sample_vivid(rng) if rng.random() < 0.2 else None,
        watch=sample_grey(rng) if rng.random() < 0.35 else None,
        bag=Material(sample_vivid(rng, dark=True)) if rng.random() < 0.16 else None,
        iris=[(72, 48, 34), (60, 88, 120), (70, 98, 66)][choose(rng, [0.65, 0.2, 0.15])],
        lips=(int(skin[0] * 0.8), int(skin[1] * 0.5), int(skin[2] * 0.5)),
        cheeks=blend(skin, (230, 96, 96), 0.28) if hair in (Hair.bob, Hair.long, Hair.ponytail) or childhood else None,
    )


def sample_cloth(rng: np.random.Generator) -> Material:
    pattern = list(Pattern)[choose(rng, [0.5, 0.2, 0.09, 0.11, 0.1])]
    first = sample_vivid(rng) if rng.random() < 0.75 else sample_grey(rng)
    second = sample_vivid(rng) if rng.random() < 0.5 else sample_grey(rng, light=True)
    return Material(first, second, pattern, float(rng.uniform(0.03, 0.085)))
