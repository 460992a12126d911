import os
import threading

import numpy as np
import pytest

from datamodules.array_cache import cache_folder, load_arrays, store_arrays

ARRAYS = {
    "numbers": np.arange(5000, dtype=np.int64),
    "nothing": np.zeros((0, 17, 2), np.float32),
    "names": np.array([b"a.jpg"]),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def assert_same(found, wanted=ARRAYS):
    assert found is not None
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_arrays_come_back_as_they_were():
    assert load_arrays("key") is None
    assert store_arrays("key", ARRAYS)
    assert_same(load_arrays("key"))
    assert load_arrays("other") is None
    assert [file.name for file in cache_folder().iterdir()] == ["key.npz"]


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    assert cache_folder().is_relative_to(tmp_path / "cache")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home/.cache/pose-papers/annotations"


@pytest.mark.parametrize("place", [0.0, 0.01, 0.3, 0.6, 0.97])
def test_a_damaged_entry_is_none_and_is_written_again(place):
    store_arrays("key", ARRAYS)
    file = cache_folder() / "key.npz"
    whole = file.read_bytes()
    at = int(place * len(whole))
    file.write_bytes(whole[:at] + bytes(value ^ 0x5A for value in whole[at : at + 40]) + whole[at + 40 :])
    assert load_arrays("key") is None
    file.write_bytes(whole[:at])
    assert load_arrays("key") is None
    assert store_arrays("key", ARRAYS)
    assert_same(load_arrays("key"))


def test_pickled_objects_are_refused():
    folder = cache_folder()
    folder.mkdir(parents=True)
    np.savez(folder / "key.npz", thing=np.array([{"a": 1}], dtype=object))
    assert load_arrays("key") is None


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not store_arrays("key", ARRAYS)
    assert load_arrays("key") is None


def test_a_full_disk_leaves_nothing_behind(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert not store_arrays("key", ARRAYS)
    assert list(cache_folder().iterdir()) == []


def test_many_writers_and_readers_see_whole_entries_only():
    failures = []

    def work(seed):
        for _ in range(5):
            store_arrays("key", ARRAYS)
            try:
                assert_same(load_arrays("key"))
            except AssertionError as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [file.name for file in cache_folder().iterdir()] == ["key.npz"]


def test_only_the_entries_last_used_are_kept():
    for number in range(8):
        store_arrays(f"{number}", {"n": np.array(number)})
        os.utime(cache_folder() / f"{number}.npz", (number, number))
    assert load_arrays("0") is not None  # now the youngest
    store_arrays("new", {"n": np.array(9)})
    left = {file.stem for file in cache_folder().iterdir()}
    assert left == {"0", "new", *(f"{number}" for number in range(2, 8))}
