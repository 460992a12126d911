"""Memory of the host: kept by a process that will soon ask for as much again, and shared by workers."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of glibc's mallopt
_KEPT = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory, up to 2 GiB at the heap's top; whether it can (glibc alone).

    A picture of a few MB is by default given back to the system when freed. The next one's pages are then new, and to
    have them mapped and zeroed takes longer than to resize or copy the picture. So all of it lies on the heap, however
    large (a threshold could be 32 MB at most; a network's activations are more). Threads that start later share one
    heap: heaps of their own are at most 64 MB, and what is needed beyond is given back every time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT), (_ARENA_MAX, 1))
    return all(bool(mallopt(option, value)) for option, value in wanted)


def empty_for_trainer(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Unset memory, in a DataLoader's worker shared with the trainer: a batch made there is not copied again."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    count = torch.Size(shape).numel() * dtype.itemsize
    storage = torch.UntypedStorage._new_shared(count)  # as torch's own collate does
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)
