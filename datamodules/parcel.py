"""A batch in one piece of memory: one allocation, and one handle on the way from a DataLoader's worker to the trainer.

Passed by itself a tensor costs a worker a file of shared memory, a message and a connection to be asked for it by, and
a batch has some fifteen, most of them of a few bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from datamodules.host_memory import empty_for_trainer

U8, I64, F32, BOOL = (np.dtype(name) for name in ("uint8", "int64", "float32", "bool"))

_ALIGNED = 64
"""Arrays begin at multiples of so many bytes."""


class Room(NamedTuple):
    """A place for an array."""

    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Plan:
    """Where arrays will lie in one memory of ``size`` bytes."""

    def __init__(self) -> None:
        self.size = 0

    def room(self, dtype: np.dtype[Any], *shape: int) -> Any:
        """A ``Room``; any type for the type checker, as it stands where a tensor will be."""
        start = self.size
        self.size += -(-math.prod(shape) * dtype.itemsize // _ALIGNED) * _ALIGNED
        return Room(start, dtype, shape)

    def parcel(self, rooms: Any) -> Parcel:
        """Of the rooms given out, in the tree ``rooms``; in memory for the trainer, of which nothing is set."""
        return Parcel(rooms, empty_for_trainer((self.size,), dtype=torch.uint8))


class Parcel:
    """Arrays in one memory, in a tree of ``NamedTuple``s.

    It arrives in another process as the same tree of tensors, on the same memory.

    Args:
        rooms: the tree, with a ``Room`` for each array; what else it holds stays as it is.
        memory: u8, as large as the rooms' plan says; nothing of it need be set.
    """

    arrays: Any
    """The tree, to be filled."""

    def __init__(self, rooms: Any, memory: Tensor) -> None:
        self.rooms, self.memory = rooms, memory
        data = memory.numpy()
        self.arrays = _mapped(Room, lambda room: np.ndarray(room.shape, room.dtype, data, room.start), rooms)

    def tensors(self) -> Any:
        """The tree of tensors on the same memory."""
        return _mapped(np.ndarray, torch.from_numpy, self.arrays)

    def sent(self) -> Any:
        """What a collation returns: in a worker the parcel, else its tensors."""
        return self.tensors() if get_worker_info() is None else self

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.rooms, self.memory)


def _arrived(rooms: Any, memory: Tensor) -> Any:
    return Parcel(rooms, memory).tensors()


def _mapped(leaf: type, function: Callable[[Any], Any], tree: Any) -> Any:
    """``tree`` with each ``leaf`` as ``function`` makes it."""
    if isinstance(tree, leaf):
        return function(tree)
    if hasattr(tree, "_fields"):
        return type(tree)(*[_mapped(leaf, function, branch) for branch in tree])
    return tree
