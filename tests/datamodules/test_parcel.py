import pickle
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.parcel import BOOL, I64, U8, Plan


class Inner(NamedTuple):
    numbers: Any
    flags: Any


class Outer(NamedTuple):
    inner: Inner
    bytes: Any
    absent: None
    sides: tuple[int, int]


def filled(number):
    plan = Plan()
    inner = Inner(plan.room(I64, 2, 3), plan.room(BOOL, 5))
    parcel = plan.parcel(Outer(inner, plan.room(U8, 0, 4), None, (7, 8)))
    parcel.arrays.inner.numbers[:] = [[number, 1, 2], [3, 4, 5]]
    parcel.arrays.inner.flags[:] = [True, False, False, False, True]
    return parcel


def assert_whole(batch, number):
    assert isinstance(batch, Outer)
    assert batch.inner.numbers.tolist() == [[number, 1, 2], [3, 4, 5]]
    assert batch.inner.numbers.dtype == torch.int64
    assert batch.inner.flags.tolist() == [True, False, False, False, True]
    assert batch.bytes.shape == (0, 4)
    assert batch.absent is None
    assert batch.sides == (7, 8)


def test_arrays_lie_in_one_memory_and_do_not_touch():
    parcel = filled(0)
    assert_whole(parcel.tensors(), 0)
    addresses = [values.ctypes.data - parcel.memory.data_ptr() for values in parcel.arrays.inner]
    assert addresses == [0, 64]
    assert len(parcel.memory) == 128


def test_tensors_outlive_the_parcel():
    batch = filled(3).tensors()
    rest = [filled(4) for _ in range(8)]
    assert_whole(batch, 3)
    assert len(rest) == 8


def test_it_is_opened_by_unpickling():
    assert_whole(pickle.loads(pickle.dumps(filled(1))), 1)


class Numbers(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        parcel = filled(index)
        assert parcel.memory.is_shared()
        return parcel.sent()


def test_a_worker_sends_one_handle_and_the_trainer_gets_the_batch():
    for number, batch in enumerate(DataLoader(Numbers(), batch_size=None, num_workers=1)):
        assert_whole(batch, number)


def test_without_a_worker_it_is_opened_at_once():
    assert_whole(filled(2).sent(), 2)
