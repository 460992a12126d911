"""Random damage to valid files: to their bytes, and to the values in them."""

from __future__ import annotations

import copy
import random
from typing import Any

HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    2,
    0.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    10**19,
    10**400,
    "",
    "x",
    "1",
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "\ud800",
    [],
    {},
    [[]],
    [[1, 2]],
    [None] * 51,
    {"size": [-1, 10**9], "counts": "zzz"},
    {"size": [10, 10], "counts": [50, 100]},
    "${oc.env:HOME}",
    "!!python/object/apply:os.system [echo]",
]
"""Values of every JSON type, and such that ids, coordinates, paths and interpolations stumble over."""


def mutate_bytes(data: bytes, chance: random.Random) -> bytes:
    """One to four places flipped, cut out, doubled, overwritten with zeros, or the end cut off."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(max(len(data), 1))
        length = chance.choice([1, 1, 2, 8, 64, 512])
        piece = data[at : at + length]
        kind = chance.randrange(6)
        if kind == 0:
            flipped = bytes(byte ^ (1 << chance.randrange(8)) for byte in piece[:1])
            data = data[:at] + flipped + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + length :]
        elif kind == 2:
            data = data[:at] + piece + data[at:]
        elif kind == 3:
            data = data[:at] + bytes(len(piece)) + data[at + length :]
        elif kind == 4:
            data = data[:at] + bytes(chance.randrange(256) for _ in piece) + data[at + length :]
        elif chance.random() < 0.3:
            data = data[:at]
    return data


def mutate_value(document: Any, chance: random.Random) -> Any:
    """A copy in which one value is replaced by a hostile one, removed, doubled or renamed."""
    document = copy.deepcopy(document)
    place = chance.choice(list(_places(document)))
    container, key = place
    kind = chance.choice(["replace", "replace", "replace", "remove", "double", "rename", "swap"])
    if kind == "remove":
        del container[key]
    elif kind == "double" and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    elif kind == "rename" and isinstance(container, dict):
        container[f"{key}s"] = container.pop(key)
    elif kind == "swap":
        other, other_key = chance.choice(list(_places(document)))
        container[key] = copy.deepcopy(other[other_key])
    else:
        container[key] = copy.deepcopy(chance.choice(HOSTILE))
    return document


def _places(value: Any) -> Any:
    """Every (container, key) of a nested document."""
    keys: Any = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])
