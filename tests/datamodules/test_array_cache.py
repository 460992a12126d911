import mmap
import os
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest

from datamodules.array_cache import alone_with, cache_folder, load_arrays, store_arrays

ARRAYS = {
    "numbers": np.arange(5000, dtype=np.int64),
    "nothing": np.zeros((0, 17, 2), np.float32),
    "names": np.array([b"a.jpg"]),
    "one": np.array(7),
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
    assert [file.name for file in cache_folder().iterdir()] == ["key.arrays"]


def test_arrays_are_mapped_and_cannot_be_written_to():
    store_arrays("key", ARRAYS)
    found = load_arrays("key")["numbers"]
    owner = found
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(getattr(owner, "obj", owner), mmap.mmap)
    assert found.ctypes.data % 64 == 0
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    assert cache_folder().is_relative_to(tmp_path / "cache")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home/.cache/pose-papers/annotations"


@pytest.mark.parametrize("place", [0.0, 0.01, 0.3, 0.6, 0.97])
def test_a_damaged_entry_is_none_and_is_written_again(place):
    store_arrays("key", ARRAYS)
    file = cache_folder() / "key.arrays"
    whole = file.read_bytes()
    at = int(place * len(whole))
    file.write_bytes(whole[:at] + bytes(value ^ 0x5A for value in whole[at : at + 40]) + whole[at + 40 :])
    assert load_arrays("key") is None
    file.write_bytes(whole[:at])
    assert load_arrays("key") is None
    assert store_arrays("key", ARRAYS)
    assert_same(load_arrays("key"))


def test_python_objects_are_refused():
    folder = cache_folder()
    folder.mkdir(parents=True)
    store_arrays("key", {"thing": np.zeros(1)})
    _, _, rest = (folder / "key.arrays").read_bytes().partition(b" ")
    text, _, content = rest.partition(b"\n")
    text = text.rstrip().replace(b'"<f8"', b'"|O"')
    line = b"%08x %s" % (zlib.crc32(text), text)
    (folder / "key.arrays").write_bytes(line.ljust(len(line) + -(len(line) + 1) % 64) + b"\n" + content)
    assert load_arrays("key") is None


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not store_arrays("key", ARRAYS)
    assert load_arrays("key") is None


def test_a_full_disk_leaves_nothing_behind(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zlib, "crc32", full)
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
    assert [file.name for file in cache_folder().iterdir()] == ["key.arrays"]


def test_only_the_entries_last_used_are_kept():
    for number in range(8):
        store_arrays(f"{number}", {"n": np.array(number)})
        os.utime(cache_folder() / f"{number}.arrays", (number, number))
    assert load_arrays("0") is not None  # now the youngest
    store_arrays("new", {"n": np.array(9)})
    left = {file.stem for file in cache_folder().iterdir()}
    assert left == {"0", "new", *(f"{number}" for number in range(2, 8))}


def test_an_old_entry_goes_only_after_a_month_without_use():
    for number in range(9):
        store_arrays(f"{number}", {"n": np.array(number)})
    assert len(list(cache_folder().iterdir())) == 9
    month_ago = (cache_folder() / "8.arrays").stat().st_mtime - 31 * 24 * 3600
    os.utime(cache_folder() / "3.arrays", (month_ago, month_ago))
    store_arrays("new", {"n": np.array(9)})
    assert not (cache_folder() / "3.arrays").exists()
    assert len(list(cache_folder().iterdir())) == 9


def test_one_process_makes_an_entry_and_the_others_wait():
    code = """
import sys
from datamodules.array_cache import alone_with
print("started", flush=True)
with alone_with("key", float(sys.argv[1])) as is_maker:
    print(is_maker, flush=True)
    if is_maker:
        sys.stdin.read()
"""

    def start(patience):
        command = [sys.executable, "-c", code, str(patience)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "started\n"
        return process

    maker = start(60)
    assert maker.stdout.readline() == "True\n"
    with alone_with("key", 0.2) as is_maker:
        assert not is_maker  # its patience is over
    with alone_with("another") as is_maker:
        assert is_maker
    waiting = start(60)
    time.sleep(0.5)
    maker.communicate()
    assert waiting.communicate()[0] == "False\n"
    with alone_with("key") as is_maker:
        assert is_maker
    assert list(cache_folder().iterdir()) == []


def test_a_process_that_is_killed_leaves_no_lock_behind():
    code = "import os\nfrom datamodules.array_cache import alone_with\nwith alone_with('key'):\n    os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    with alone_with("key") as is_maker:
        assert is_maker


def test_without_a_folder_nobody_waits(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with alone_with("key") as first, alone_with("key") as second:
        assert first
        assert second
