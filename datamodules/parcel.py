"""A batch in one piece of memory: one allocation, and one handle on the way from a DataLoader's worker to the trainer.

Passed by itself a tensor costs a worker a file of shared memory, a message and a connection to be asked for it by, and
a batch has some fifteen, most of them of a few bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor
from torch.utils.data import get_worker_info

from datamodules.host_memory import empty_for_trainer

_ALIGNED = 64
"""Arrays begin at multiples of so many bytes."""


class Room(NamedTuple):
    """A place for an array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes, up to where the next may begin."""
        return -(-math.prod(self.shape) * self.dtype.itemsize // _ALIGNED) * _ALIGNED


def room(dtype: DTypeLike, *shape: int) -> Any:
    """A ``Room``, of any type for the type checker: it stands where a tensor will be."""
    return Room(np.dtype(dtype), shape)


class Parcel:
    """Arrays in one memory, in a tree of ``NamedTuple``s.

    It arrives in another process as the same tree of tensors, on the same memory.

    Args:
        rooms: the tree, with a ``Room`` for each array; what else it holds stays as it is.
        memory: u8; None makes it, unset, for the trainer.
    """

    arrays: Any
    """The tree, to be filled."""

    def __init__(self, rooms: Any, memory: Tensor | None = None) -> None:
        leaves = list(_leaves(rooms))
        starts = [0, *accumulate(room.size for room in leaves)]
        self.rooms = rooms
        self.memory = empty_for_trainer((starts[-1],), dtype=torch.uint8) if memory is None else memory
        data = self.memory.numpy()
        made = (np.ndarray(room.shape, room.dtype, data, start) for room, start in zip(leaves, starts, strict=False))
        self.arrays = _mapped(lambda room: next(made), rooms)

    def tensors(self) -> Any:
        """The tree of tensors on the same memory."""
        return _mapped(torch.from_numpy, self.arrays)

    def sent(self) -> Any:
        """What a collation returns: in a worker the parcel, else its tensors."""
        return self.tensors() if get_worker_info() is None else self

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.rooms, self.memory)


def _arrived(rooms: Any, memory: Tensor) -> Any:
    return Parcel(rooms, memory).tensors()


def _leaves(tree: Any) -> Iterator[Room]:
    if isinstance(tree, Room):
        yield tree
    elif hasattr(tree, "_fields"):
        for branch in tree:
            yield from _leaves(branch)


def _mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """``tree`` with each ``Room`` or array as ``function`` makes it."""
    if isinstance(tree, Room | np.ndarray):
        return function(tree)
    return type(tree)(*(_mapped(function, branch) for branch in tree)) if hasattr(tree, "_fields") else tree
