"""What ``read_annotations`` gives from the cache is what it gives from the file."""

import dataclasses
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from datamodules import annotations as annotations_module
from datamodules.annotations import AnnotationError, Annotations, read_annotations
from datamodules.array_cache import cache_folder
from datamodules.config import OnBadAnnotation
from datamodules.skeleton import COCO


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(annotations_module, "_WORTH_CACHING", 0)


@pytest.fixture
def parses(monkeypatch):
    """How often a file was parsed."""
    calls = []
    parse = annotations_module.parse_lists

    def count(data, name):
        calls.append(name)
        return parse(data, name)

    monkeypatch.setattr(annotations_module, "parse_lists", count)
    return calls


@pytest.fixture
def file(write_coco, person):
    runs = {"counts": [100, 50, 2250], "size": [40, 60]}
    people = [
        person(5),
        person(6, image_id=2, num_keypoints=3),
        person(7, image_id=2, iscrowd=1, segmentation=runs),
        person(8, keypoints=[1, 2, 2]),
        person(9, bbox=[-3, 6, 30, 24]),
    ]
    root = write_coco(people, {3: (30, 30), 1: (40, 60), 2: (40, 60)})
    return root / "annotations/person_keypoints_val2017.json"


def read(file, skeleton=COCO, **options):
    return read_annotations(file, file.parent, skeleton, **{"on_bad": OnBadAnnotation.drop, **options})


def assert_same(found: Annotations, wanted: Annotations):
    assert found._replace(**dict.fromkeys(arrays_of(found))) == wanted._replace(**dict.fromkeys(arrays_of(wanted)))
    for name, array in arrays_of(wanted).items():
        ours = getattr(found, name)
        for mine, theirs in zip(ours if name == "segments" else [ours], array, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def arrays_of(annotations):
    plain = {name: [value] for name, value in annotations._asdict().items() if isinstance(value, np.ndarray)}
    return {**plain, "segments": annotations.segments}


def test_a_cached_file_reads_the_same_and_is_not_parsed_again(file, parses, monkeypatch):
    first, second = read(file), read(file)
    assert len(parses) == 1
    assert_same(second, first)
    monkeypatch.setattr(annotations_module, "_WORTH_CACHING", 1 << 40)
    assert_same(second, read(file))
    assert len(parses) == 2
    assert [complaint.severity for complaint in second.complaints].count("error") == 1
    assert str(file) in str(second.complaints[0])
    assert second.known_ids == {1, 2, 3}


def test_errors_are_raised_from_the_cache_as_from_the_file(file, parses):
    messages = []
    for _ in range(2):
        with pytest.raises(AnnotationError) as error:
            read(file, on_bad=OnBadAnnotation.error)
        messages.append((str(error.value), error.value.complaints))
    assert messages[0] == messages[1]
    assert len(parses) == 1


def test_a_copy_elsewhere_is_the_same_entry_under_its_own_name(file, parses, tmp_path):
    read(file)
    copy = tmp_path / "copy.json"
    copy.write_bytes(file.read_bytes())
    found = read(copy)
    assert len(parses) == 1
    assert found.file == copy
    assert {complaint.file for complaint in found.complaints} == {str(copy)}


def test_changed_content_of_equal_size_and_time_is_read_anew(file, parses):
    assert 5 in read(file).ids
    stamp = file.stat()
    text = file.read_text()
    changed = text.replace('"id": 5,', '"id": 4,')
    assert len(changed) == len(text)
    file.write_text(changed)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert read(file).ids.tolist() == [4, 9, 6, 7]
    assert len(parses) == 2


def test_another_skeleton_and_other_rules_are_read_anew(file, parses, monkeypatch):
    read(file)
    read(file, dataclasses.replace(COCO, name="mine"))
    assert len(parses) == 2
    monkeypatch.setattr(annotations_module, "_RULES", (*annotations_module._RULES, "skeleton.py"))
    read(file)
    assert len(parses) == 3


def test_a_damaged_entry_is_replaced(file, parses):
    first = read(file)
    entry = next(cache_folder().iterdir())
    entry.write_bytes(entry.read_bytes()[:-30])
    assert_same(read(file), first)
    assert len(parses) == 2
    assert_same(read(file), first)
    assert len(parses) == 2


def test_named_images_are_read_from_the_file(file, parses):
    read(file)
    assert read(file, image_ids=[2]).ids.tolist() == [6, 7]
    assert len(parses) == 2


def test_small_files_and_unusable_ones_are_not_kept(file, monkeypatch):
    monkeypatch.setattr(annotations_module, "_WORTH_CACHING", 1 << 20)
    read(file)
    file.write_text(json.dumps({"images": []}) + " " * (1 << 20))
    with pytest.raises(AnnotationError, match="has no list 'annotations'"):
        read(file)
    assert not any(cache_folder().iterdir())


def test_four_processes_parse_a_file_once(file, tmp_path):
    code = """
import sys, time
from pathlib import Path
from datamodules import annotations
from datamodules.config import OnBadAnnotation
from datamodules.skeleton import COCO

annotations._WORTH_CACHING = 0
parse = annotations.parse_lists

def slow(data, name):
    print("parsed", flush=True)
    time.sleep(1)
    return parse(data, name)

annotations.parse_lists = slow
file = Path(sys.argv[1])
sys.stdin.readline()
found = annotations.read_annotations(file, file.parent, COCO, on_bad=OnBadAnnotation.drop)
print(found.ids.tolist())
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    lines = [process.communicate()[0].splitlines() for process in processes]
    assert [line[-1] for line in lines] == ["[5, 9, 6, 7]"] * 4
    assert sum("parsed" in line for line in lines) == 1


def test_a_process_that_waits_in_vain_reads_the_file_itself(file, parses, monkeypatch):
    wanted = read(file)
    for entry in cache_folder().iterdir():
        entry.unlink()

    @contextmanager
    def taken(key):
        yield False

    monkeypatch.setattr(annotations_module, "alone_with", taken)
    with pytest.warns(UserWarning, match="another process is still reading it"):
        assert_same(read(file), wanted)
    assert len(parses) == 2


def test_selecting_everything_copies_nothing(file):
    found = read(file)
    assert found.select(np.arange(3)).keypoints is found.keypoints
    some = found.select(np.array([1]))
    assert some.segments.points is found.segments.points
    assert some.segments.runs is found.segments.runs
    assert not np.shares_memory(some.keypoints, found.keypoints)


def test_reading_a_large_file_is_announced_once(file, capsys, monkeypatch):
    read(file)
    assert capsys.readouterr().err == ""  # a small one
    file.write_text(file.read_text() + " ")
    monkeypatch.setattr(annotations_module, "_TAKES_SECONDS", 1)
    read(file)
    assert capsys.readouterr().err == f"reading {file} (0 MB); kept for the next start\n"
    read(file)
    assert capsys.readouterr().err == ""
