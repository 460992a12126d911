"""Bodies: the lengths and girths of a person, child to adult."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Body:
    """Lengths in units of the standing height, except ``stature``."""

    stature: float
    """Standing height relative to an average adult."""
    head: float
    """Chin to crown."""
    neck: float
    """Shoulder line to chin."""
    torso: float
    """Hip line to shoulder line."""
    shoulder: float
    """Half the distance between the shoulder joints."""
    hip: float
    """Half the distance between the hip joints."""
    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shin: float
    foot: float
    girth: float
    """Factor on every radius."""
    waist: float
    """Factor on the waist alone."""


_ADULT = {"head": 0.142, "neck": 0.042, "torso": 0.285, "shoulder": 0.1, "hip": 0.05, "upper_arm": 0.165}
_ADULT |= {"forearm": 0.142, "hand": 0.075, "thigh": 0.24, "shin": 0.24, "foot": 0.135}
_CHILD = {"head": 0.205, "neck": 0.022, "torso": 0.285, "shoulder": 0.09, "hip": 0.05, "upper_arm": 0.145}
_CHILD |= {"forearm": 0.122, "hand": 0.068, "thigh": 0.2, "shin": 0.205, "foot": 0.135}


def sample_body(rng: np.random.Generator) -> Body:
    """An adult in three cases of four, else a child of about three to twelve years."""
    is_child = rng.random() < 0.25
    childhood = rng.uniform(0.35, 1.0) if is_child else 0.0
    lengths = {key: _ADULT[key] + (_CHILD[key] - _ADULT[key]) * childhood for key in _ADULT}
    lengths = {key: value * rng.normal(1.0, 0.025) for key, value in lengths.items()}
    broad = rng.uniform(-1.0, 1.0) * (1 - childhood)  # 1: broad shoulders, narrow hips; -1: the reverse
    lengths["shoulder"] *= 1 + 0.08 * broad
    lengths["hip"] *= 1 - 0.08 * broad
    girth = float(np.clip(rng.normal(1.0, 0.09), 0.84, 1.28)) * (1 + 0.1 * childhood)
    return Body(
        stature=float(rng.normal(1.0, 0.05) if not is_child else rng.uniform(0.78, 0.84) - 0.3 * childhood),
        girth=girth,
        waist=float(np.clip(rng.normal(0.98 + 0.08 * broad + 0.5 * (girth - 1.0), 0.06), 0.82, 1.4)),
        **lengths,
    )
