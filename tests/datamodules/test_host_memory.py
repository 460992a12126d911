import ctypes
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.host_memory import empty_for_trainer, keep_freed_memory

PROBE = """
import resource, sys
import numpy as np
from datamodules.host_memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        picture = np.empty(60_000_000, np.uint8)
        picture.fill(1)
        del picture
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(2)
print(faults(10))
"""


def faults_of(how):
    run = subprocess.run([sys.executable, "-c", PROBE, how], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_freed_memory_is_not_mapped_anew():
    assert faults_of("keep") < 1000 < 10 * 60_000_000 / 4096 / 2


def test_without_glibc_nothing_happens(monkeypatch):
    def without(_):
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", without)
    assert not keep_freed_memory()


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        values = empty_for_trainer((2, 3), torch.int64)
        assert values.is_shared()
        return values.fill_(index)


def test_a_worker_hands_over_shared_memory():
    assert not empty_for_trainer((2, 3), torch.int64).is_shared()
    for index, values in enumerate(DataLoader(Numbers(), batch_size=None, num_workers=1)):
        assert values.tolist() == [[index] * 3] * 2
