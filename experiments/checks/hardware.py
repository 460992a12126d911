"""Processors, GPU, number formats, shared memory, disk, and whether ranks can talk to each other."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from datamodules.cores import usable_cores
from experiments.checks.finding import Finding, State

GIB = 2**30
PREFETCH = 2
"""Batches each DataLoader worker holds ready, PyTorch's default."""
DISK_NEEDED = 5 * GIB
"""choice: twice three checkpoints of a network of 64 million parameters with Adam's two moments (12 bytes each)."""
_RANKS = 2
_TIMEOUT = timedelta(seconds=20)


def processors(workers: int, cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> Finding:
    """Cores this process may use, by affinity and by the container's quota, against ``workers``."""
    cores = usable_cores()
    quota = _quota(cgroup)
    usable = min(cores, quota) if quota else cores
    found = f"{usable:g} of {os.cpu_count()} usable, recipes start {workers} workers a device"
    if usable > workers:
        return Finding("CPU cores", State.ok, found)
    return Finding("CPU cores", State.absent, found, f"data.num_workers={max(int(usable) - 1, 0)}")


def graphics() -> list[Finding]:
    """The GPUs, a driver without one included, and bf16 computed on the device that training would take."""
    import torch

    if torch.cuda.is_available():
        found = [
            Finding(f"GPU {index}", State.ok, _describe(torch.cuda.get_device_properties(index)))
            for index in range(torch.cuda.device_count())
        ]
    elif shutil.which("nvidia-smi"):
        fix = "compare nvidia-smi's CUDA version with torch.version.cuda, and look at CUDA_VISIBLE_DEVICES"
        found = [Finding("GPU", State.wrong, f"a driver is there, but torch {torch.__version__} sees no GPU", fix)]
    else:
        found = [Finding("GPU", State.absent, "none; training runs on the CPU", "demo and smoke presets fit a CPU")]
    return [*found, _bf16()]


def collectives() -> list[Finding]:
    """A sum over gloo between two ranks in this process, over a real socket, and one over NCCL where a GPU is."""
    import torch

    findings = [_attempt("gloo", _sum_over_gloo, "let the host's own name resolve, or set GLOO_SOCKET_IFNAME=lo")]
    if not torch.cuda.is_available():
        return [*findings, Finding("NCCL", State.absent, "no GPU to use it")]
    return [*findings, _attempt("NCCL", _sum_over_nccl, "NCCL_DEBUG=INFO tells what it tried")]


def shared_memory(needed: int, path: Path = Path("/dev/shm")) -> Finding:
    """Free space where workers hand over batches, against ``needed`` bytes."""
    name = "shared memory"
    if not path.is_dir():
        return Finding(name, State.absent, f"no {path} on this system")
    usage = shutil.disk_usage(path)
    found = f"{path}: {_size(usage.free)} free of {_size(usage.total)}, the workers of a recipe hold {_size(needed)}"
    if usage.free >= needed:
        return Finding(name, State.ok, found)
    fix = f"docker run --shm-size={-(-needed // GIB)}g (or --ipc=host), or data.num_workers=0"
    return Finding(name, State.wrong, found, fix)


def disk(folder: Path) -> Finding:
    """Free space where runs are written; the folder need not be there yet."""
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(parent).free
    found = f"{_size(free)} free for {folder}"
    if not os.access(parent, os.W_OK):
        return Finding("disk", State.wrong, f"{parent} cannot be written", "output.root=FOLDER that you may write")
    if free >= DISK_NEEDED:
        return Finding("disk", State.ok, found)
    return Finding("disk", State.wrong, found, "free some, or output.root=FOLDER on a larger disk")


def _quota(file: Path) -> float | None:
    """Cores by a container's limit (cgroup v2); None without one."""
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _describe(properties: Any) -> str:
    name, memory = getattr(properties, "name", "?"), getattr(properties, "total_memory", 0)
    return f"{name}, {_size(memory)}, compute capability {properties.major}.{properties.minor}"


def _bf16() -> Finding:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        fix = "trainer.precision=16-mixed instead of bf16-mixed"
        return Finding("bf16", State.absent, "this GPU has none of its own", fix)
    try:
        ones = torch.ones(8, 8, device=device)
        with torch.autocast(device, torch.bfloat16):
            product = ones @ ones
        is_right = product.dtype is torch.bfloat16 and product.float().sum().item() == 512
    except RuntimeError as error:
        return Finding("bf16", State.absent, str(error).splitlines()[0], "trainer.precision=32-true")
    if not is_right:
        return Finding("bf16", State.wrong, "a product of ones is not 8", "trainer.precision=32-true")
    return Finding("bf16", State.ok, f"computes on the {'GPU' if device == 'cuda' else 'CPU'}")


def _attempt(name: str, action: Callable[[], str], fix: str) -> Finding:
    try:
        return Finding(name, State.ok, action())
    except Exception as error:  # whatever a transport says, it is the answer
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Finding(name, State.wrong, lines[0][:200], fix)


def _sum_over_gloo() -> str:
    """Two ranks as threads, a file as their store.

    Raises:
        RuntimeError: they do not find each other, or the sum is wrong.
    """
    import torch
    import torch.distributed as dist

    with tempfile.TemporaryDirectory() as folder:

        def rank(index: int) -> float:
            store = dist.FileStore(f"{folder}/store", _RANKS)
            group: Any = dist.ProcessGroupGloo(store, index, _RANKS, _TIMEOUT)
            value = torch.tensor([float(index + 1)])
            group.allreduce([value]).wait()
            return value.item()

        with ThreadPoolExecutor(_RANKS) as pool:
            sums = list(pool.map(rank, range(_RANKS)))
    if sums != [3.0] * _RANKS:
        raise RuntimeError(f"the sum over two ranks is {sums}, not 3")
    return "two ranks summed over a socket"


def _sum_over_nccl() -> str:
    """One rank per GPU needs processes; one rank on the first GPU shows that NCCL loads and computes.

    Raises:
        RuntimeError: it does not.
    """
    import torch
    import torch.distributed as dist

    version = ".".join(map(str, torch.cuda.nccl.version()))
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(
            "nccl", store=dist.FileStore(f"{folder}/store", 1), rank=0, world_size=1, timeout=_TIMEOUT
        )
        try:
            value = torch.ones(1, device="cuda")
            dist.all_reduce(value)
            if value.item() != 1:
                raise RuntimeError(f"the sum over one rank is {value.item()}, not 1")
        finally:
            dist.destroy_process_group()
    return f"{version}, one rank summed"


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.0f} MiB"
